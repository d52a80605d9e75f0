"""``python -m weakshot_seg.predict``: sources of every kind, and what is written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image, ImageOps

import weakshot_seg
from weakshot_seg import predict
from weakshot_seg.checkpoint import load_module
from weakshot_seg.data.synthetic import SyntheticScenes
from weakshot_seg.inference import tta
from weakshot_seg.inference.whole import WholeImage

NUM_CLASSES = len(SyntheticScenes.class_names)
ORIENTATION = 0x0112


def photo(path: Path, height: int = 40, width: int = 70, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, _ = SyntheticScenes("validation", 1, size=96).load(0)
    Image.fromarray(image[:height, :width]).save(path, **options)
    return path


@pytest.fixture
def ckpt(trained: Path) -> str:
    return f"ckpt={trained}/checkpoints/last.ckpt"


@pytest.fixture
def segment(ckpt: str, command: Callable[..., None], tmp_path: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Predicts a source; returns the label maps by file name, after checking that each has its overlay."""

    def run(source: str) -> dict[str, np.ndarray]:
        out = tmp_path / "out"
        command(predict.main, ckpt, f"source={source}", f"out={out}", "device=cpu", folder=tmp_path)
        overlays = {path.name.removesuffix("_overlay.png") for path in out.glob("*_overlay.png")}
        maps = {}
        for path in out.glob("*.png"):
            if path.stem.removesuffix("_overlay") == path.stem:
                with Image.open(path) as label_map:
                    assert label_map.mode == "P"
                    maps[path.stem] = np.array(label_map)
        assert maps.keys() == overlays
        assert all(ids.max() < NUM_CLASSES for ids in maps.values())
        return maps

    return run


Segment = Callable[[str], dict[str, np.ndarray]]


def test_a_file(segment: Segment, tmp_path: Path) -> None:
    maps = segment(str(photo(tmp_path / "one.png")))
    assert {name: ids.shape for name, ids in maps.items()} == {"one": (40, 70)}
    with Image.open(tmp_path / "out" / "one_overlay.png") as overlay:
        assert overlay.mode == "RGB"
        assert overlay.width > 70


def test_a_folder_with_folders(segment: Segment, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / "b.PNG", 33, 20)
    photo(tmp_path / "in" / "deep" / "er" / "c.webp", 20, 33)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    maps = segment(str(tmp_path / "in"))
    assert {name: ids.shape for name, ids in maps.items()} == {"a": (40, 70), "b": (33, 20), "c": (20, 33)}


def test_files_of_one_name_in_two_folders(segment: Segment, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "left" / "a.jpg", 40, 70)
    photo(tmp_path / "in" / "right" / "a.jpg", 20, 33)
    maps = segment(str(tmp_path / "in"))
    assert sorted(ids.shape for ids in maps.values()) == [(20, 33), (40, 70)]
    assert {name.split("_")[-2] for name in maps} == {"left", "right"}


def test_names_that_differ_in_the_suffix_alone(segment: Segment, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg", 40, 70)
    photo(tmp_path / "in" / "a.png", 20, 33)
    assert sorted(ids.shape for ids in segment(str(tmp_path / "in")).values()) == [(20, 33), (40, 70)]


def test_a_pattern(segment: Segment, tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.jpg")
    photo(tmp_path / "in" / "b.png")
    photo(tmp_path / "in" / "deep" / "c.jpg")
    assert segment(f"{tmp_path}/in/*.jpg").keys() == {"a"}
    assert segment(f"{tmp_path}/in/**/*.jpg").keys() == {"a", "c"}


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_images_of_any_mode(mode: str, segment: Segment, tmp_path: Path) -> None:
    with Image.open(photo(tmp_path / "colour.png")) as image:
        image.convert(mode).save(tmp_path / "other.png")
    assert segment(str(tmp_path / "other.png"))["other"].shape == (40, 70)


def test_a_turned_photo_is_turned_upright(segment: Segment, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = photo(tmp_path / "in" / "turned.jpg", exif=exif)
    with Image.open(turned) as image:
        ImageOps.exif_transpose(image).save(tmp_path / "in" / "upright.png", exif=b"")
    maps = segment(str(tmp_path / "in"))
    assert maps["turned"].shape == (70, 40)
    assert np.array_equal(maps["turned"], maps["upright"])


def test_prediction_is_what_evaluation_measures(trained: Path, segment: Segment, tmp_path: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt")
    data = instantiate(module.recipe["data"])
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    with torch.inference_mode():
        measured = module.predict_batch(batch)
    (tmp_path / "in").mkdir()
    for image, name in zip(batch.images, batch.names, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "in" / f"{Path(name).name}.png")
    maps = segment(str(tmp_path / "in"))
    assert len(maps) == len(measured) == 4
    for ids, name in zip(measured, batch.names, strict=True):
        assert np.mean(maps[Path(name).name] == ids.numpy()) > 0.999  # a batch may round otherwise than single images


def test_another_inference(eager: Path, command: Callable[..., None], tmp_path: Path) -> None:
    source = photo(tmp_path / "one.png")
    for name, settings in {"whole": (), "tta": ("inference=tta", "inference.scales=[1.0,1.5]")}.items():
        out = f"out={tmp_path / name}"
        command(predict.main, f"ckpt={eager}", f"source={source}", out, "device=cpu", *settings, folder=tmp_path)
    whole, augmented = (np.array(Image.open(tmp_path / name / "one.png")) for name in ("whole", "tta"))
    assert not np.array_equal(whole, augmented)
    segmenter = weakshot_seg.load(eager, "cpu", tta.TestTimeAugmentation(WholeImage(), [1.0, 1.5]))
    assert np.array_equal(augmented, segmenter.predict(source).labels)


def test_a_truncated_image_is_named(ckpt: str, refusal: Callable[..., str], tmp_path: Path) -> None:
    whole = photo(tmp_path / "in" / "broken.jpg").read_bytes()
    (tmp_path / "in" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    line = refusal(predict.main, ckpt, f"source={tmp_path}/in", f"out={tmp_path}/out", "device=cpu")
    assert f"{tmp_path}/in/broken.jpg" in line
    assert "replace or remove it" in line


def test_nothing_found(ckpt: str, refusal: Callable[..., str], tmp_path: Path) -> None:
    for source in (tmp_path / "nowhere.jpg", tmp_path):
        assert f"source={source}: no such file, or no images" in refusal(predict.main, ckpt, f"source={source}")
