"""The page to try a model: what it shows, and the page in a real browser (Chromium, which ``.ci/run`` installs)."""

import io
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import weakshot_seg
from no_images import claiming
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli import app
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.demo import view as demo
from weakshot_seg.demo.page import build_page, serve
from weakshot_seg.demo.view import View
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.structures import ClassSplit

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
)


def view_of(image: np.ndarray, labels: np.ndarray, names: tuple[str, ...], novel: tuple[int, ...]) -> View:
    confidence = np.full(labels.shape, 0.5, np.float32)
    areas = Segmentation(image, labels, confidence, ClassSplit(names, novel), None).classes
    return View(image, labels, areas, [])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    image, _ = SyntheticScenes("validation", 1, size=96).load(0)
    Image.fromarray(image).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.fixture(scope="module")
def segmenter(eager: Path) -> weakshot_seg.Segmenter:
    return weakshot_seg.load(eager, device="cpu")


def test_no_opacity_is_the_image_and_hidden_classes_stay_bare() -> None:
    image = np.random.default_rng(0).integers(0, 256, (500, 480, 3), np.uint8)
    labels = np.zeros((500, 480), np.uint8)
    labels[:300], labels[300:, 250:] = 1, 2
    view = view_of(image, labels, ("sky", "grass", "cat"), (2,))
    assert np.array_equal(view.draw([0, 1, 2], 0.0), image)
    assert np.array_equal(view.draw([], 1.0), image)
    grass = view.draw([1], 1.0)
    assert np.array_equal(grass[300:], image[300:])
    assert np.abs(grass[:300].astype(int) - image[:300]).mean() > 20
    half = view.draw([1], 0.5).astype(int)
    assert np.abs(2 * half - image - grass)[:300].max() <= 1


def test_tables_escape_names_and_mark_novel_classes() -> None:
    labels = np.zeros((10, 100), np.uint8)
    labels[:, 25:], labels[0, 0] = 1, 2
    view = view_of(np.zeros((10, 100, 3), np.uint8), labels, ("a&<b>", "cat", "dog"), (1,))
    assert "<b>" not in view.table()
    first, second, third = view.table().split("<tbody>")[1].split("</tr>")[:3]
    assert all(part in first for part in ("cat", "★", "<td>75 %</td><td>50 %</td>"))
    assert "a&amp;&lt;b&gt;" in second
    assert "★" not in second
    assert "&lt; 1 %" in third
    assert view.choices() == [("cat ★", 1), ("a&<b>", 0), ("dog", 2)]
    assert "&lt;script&gt;" in demo.message("<script>", alert=True)


def test_a_proposal_shows_the_image_within_its_mask() -> None:
    image, mask = np.full((40, 40, 3), (200, 100, 0), np.uint8), np.zeros((40, 40), np.float32)
    mask[:, :20] = 1
    picture = demo.tile(image, mask)
    assert picture.shape == (demo.TILE, demo.TILE, 3)
    assert picture[160, 40].tolist() == [200, 100, 0]
    assert picture[160, 300].min() > 200


def test_large_images_are_shrunk_and_others_refused(scene: Path, tmp_path: Path) -> None:
    Image.new("RGB", (3000, 1000), (10, 200, 30)).save(tmp_path / "wide.png")
    image, note = demo.open_image(tmp_path / "wide.png", 100)
    assert image.shape == (683, 2048, 3)
    assert note == "3000 x 1000 pixels, shrunk to 2048 x 683 before the prediction"
    (tmp_path / "bomb.png").write_bytes(claiming(40_000, 25_000))  # a billion pixels are not decoded
    for name in ("wide", "bomb"):
        with pytest.raises(DataError, match=rf"{name}\.png is too large, at most 2 megapixels are taken here"):
            demo.open_image(tmp_path / f"{name}.png", 2)
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "half.png").write_bytes(scene.read_bytes()[:4000])
    for name in ("text.jpg", "half.png"):
        with pytest.raises(DataError, match=rf"{name} cannot be read: it is damaged, or no JPEG"):
            demo.open_image(tmp_path / name, 100)


def test_examples_are_validation_images_with_novel_classes(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt")
    files = app.write_examples(module.recipe.data, module.class_split, 2, tmp_path)
    scenes = SyntheticScenes("validation", 4, size=32)
    counts = scenes.presence()[:, list(module.class_split.novel)].sum(1)
    best = {scenes.name(i).replace("/", "_") for i in np.argsort(-counts, kind="stable")[:2]}
    assert {file.stem for file in files} == best
    assert app.write_examples({"val_transform": {}}, module.class_split, 2, tmp_path) == []  # a model folder
    photos = {key: value for key, value in module.recipe.data.items() if key not in ("train", "val")}
    photos |= {"_target_": f"{WeakShotDataModule.__module__}.WeakShotDataModule.from_folders", "root": "gone"}
    with caplog.at_level("INFO"):
        assert app.write_examples(photos, module.class_split, 2, tmp_path) == []
    assert "no examples: " in caplog.text
    assert "gone" in caplog.text


def test_titles() -> None:
    assert app.title("outputs/birds/split1/checkpoints/last.ckpt") == "birds / split1"
    assert app.title("user/birds@v1") == "user/birds@v1"


def test_a_taken_port_is_named(segmenter: weakshot_seg.Segmenter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port={port} at host=127\.0\.0\.1 cannot be used"):
            serve(build_page(segmenter, "model", [], 5, 2), "127.0.0.1", port, share=False)


@pytest.fixture
def address(segmenter: weakshot_seg.Segmenter, scene: Path) -> Iterator[str]:
    """The page, served in this process."""
    page = build_page(segmenter, "shapes", [scene], proposals=5, max_megapixels=2)
    yield serve(page, "127.0.0.1", None, share=False)
    page.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a visitor sees and does."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.find("#upload input[type=file]")

    def find(self, selector: str) -> WebElement:
        """The first such element, once it is there."""
        wait = WebDriverWait(self.driver, 30)
        return wait.until(lambda driver: (driver.find_elements(By.CSS_SELECTOR, selector) or [None])[0], selector)

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def upload(self, file: Path) -> None:
        self.find("#upload input[type=file]").send_keys(str(file))

    def message(self, part: str) -> None:
        """Waits until the line below the image has these words."""
        WebDriverWait(self.driver, 30).until(lambda _: part in self.find("#note").text, part)

    def picture(self, unlike: np.ndarray | None = None) -> np.ndarray:
        """The overlay as the browser got it, once it differs from ``unlike``."""

        def changed(driver: webdriver.Chrome) -> list[np.ndarray]:
            fetch = "const done = arguments[1]; fetch(arguments[0]).then(r => r.arrayBuffer())"
            then = ".then(b => done([...new Uint8Array(b)]))"
            data = driver.execute_async_script(fetch + then, self.find("#picture img").get_attribute("src"))
            pixels = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))
            return [] if unlike is not None and np.array_equal(pixels, unlike) else [pixels]

        return WebDriverWait(self.driver, 30).until(changed, "the overlay did not change")[0]


def test_clicking_through_the_page(
    browser: webdriver.Chrome, address: str, segmenter: weakshot_seg.Segmenter, scene: Path, tmp_path: Path
) -> None:
    page = Page(browser, address)
    browser.execute_cdp_cmd("Network.enable", {})
    page.upload(scene)
    page.message("96 x 96 pixels")
    expected = View.of(segmenter.predict(demo.open_image(scene, 2)[0]), 5)
    everything = [area.class_id for area in expected.areas]
    first = page.picture()
    assert np.array_equal(first, expected.draw(everything, 0.65))
    names = [demo.starred(area.name, area.novel) for area in expected.areas]
    assert any("★" in name for name in names)
    assert page.texts("#shown label span")[: len(names)] == names
    assert [text.split("\n")[0] for text in page.texts("#table tbody td:first-child")] == names
    page.find("#proposals img")
    assert page.texts("#proposals .caption-label") == [caption for _, caption in expected.proposals]

    page.find("#shown input").click()  # hides the largest class
    hidden = page.picture(unlike=first)
    assert np.array_equal(hidden, expected.draw(everything[1:], 0.65))
    page.find("#opacity input[type=range]").send_keys(Keys.HOME)
    bare = page.picture(unlike=hidden)
    assert np.array_equal(bare, expected.image)

    (tmp_path / "text.png").write_text("no image")
    page.find("#upload button[aria-label='Remove Image']").click()
    page.message("Drop an image")
    page.upload(tmp_path / "text.png")
    page.message("text.png cannot be read")
    assert page.find("#note [role=alert]").is_displayed()
    assert not page.texts("#proposals img")

    browser.set_window_size(500, 900)  # Chromium's smallest
    page.find("#upload button[aria-label='Remove Image']").click()
    page.find("#examples button.gallery-item").click()
    page.message("96 x 96 pixels")
    page.find("#proposals img")
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")

    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    sent = (json.loads(line["message"])["message"] for line in browser.get_log("performance"))
    urls = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
    # nothing from any other place
    assert {urlsplit(url).netloc for url in urls if url.startswith("http")} == {urlsplit(address).netloc}


def test_the_page_needs_gradio(trained: Path, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weakshot_seg.demo.page", None)
    line = refusal(app.main, f"ckpt={trained}/checkpoints/last.ckpt")
    assert "pip install -e '.[app]'" in line
