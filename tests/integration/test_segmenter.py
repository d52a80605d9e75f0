"""The Python interface: ``weakshot_seg.load`` and what it predicts."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import weakshot_seg
from pages import blocks
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.inference import tta
from weakshot_seg.inference.semantic import WholeImage
from weakshot_seg.inference.sliding import SlidingWindow
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.prediction.segmenter import Segmenter
from weakshot_seg.structures import ClassSplit

SCENES = SyntheticScenes("validation", 4, size=96)


def scene(index: int, height: int, width: int) -> np.ndarray:
    return SCENES.load(index)[0][:height, :width]


@pytest.fixture(scope="module")
def segmenter(eager: Path) -> Segmenter:
    return weakshot_seg.load(eager, "cpu")


def test_the_example_of_the_pages(eager: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (block.text for block in blocks("python") if block.page == "docs/how-to/predict.md")
    Image.fromarray(scene(0, 40, 70)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(re.sub(r'"outputs.*ckpt"', repr(str(eager)), code).replace('"heron"', '"water"'), names)
    assert isinstance(names["result"], Segmentation)
    assert (tmp_path / "overlay.png").exists()


def test_the_package_alone_is_light() -> None:
    code = "import sys, weakshot_seg; print(weakshot_seg.__version__, 'torch' in sys.modules, 'numpy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == [weakshot_seg.__version__, "False", "False"]
    with pytest.raises(AttributeError, match="lod"):
        _ = weakshot_seg.lod


def test_labels_scores_and_areas_against_the_formula(eager: Path, segmenter: Segmenter) -> None:
    image = scene(1, 50, 70)
    result = segmenter.predict(image)
    padded = np.full((64, 96, 3), 128, np.uint8)
    padded[:50, :70] = image
    with torch.no_grad():
        output = load_module(eager).model(torch.from_numpy(padded).permute(2, 0, 1)[None])
    masks = torch.nn.functional.interpolate(output.mask_logits[-1], (64, 96), mode="bilinear")[0, :, :50, :70]
    probabilities = output.class_logits[-1, 0].softmax(-1)[:, :-1]
    scores = np.tensordot(probabilities.numpy().T, masks.sigmoid().numpy(), 1)  # [K, h, w]
    assert np.array_equal(result.labels, scores.argmax(0))
    assert len(result.classes) > 2
    np.testing.assert_allclose(result.confidence, scores.max(0), rtol=1e-5)
    for area in result.classes:
        i, inside = area.class_id, scores.argmax(0) == area.class_id
        np.testing.assert_allclose(result.scores(area.name), scores[i], rtol=1e-5, atol=1e-6)
        assert (area.pixels, area.share) == (inside.sum(), pytest.approx(inside.mean()))
        assert area.confidence == pytest.approx(np.minimum(scores.max(0)[inside], 1).mean(), rel=1e-5)
        assert (area.name, area.novel) == (SCENES.class_names[i], i in segmenter.split.novel)
    assert sorted(result.classes, key=lambda area: -area.pixels) == list(result.classes)

    proposals = result.proposals(most=5)
    assert [p.query for p in proposals] == probabilities.max(1).values.argsort(descending=True)[:5].tolist()
    for proposal in proposals:
        assert proposal.class_id == probabilities[proposal.query].argmax()
        assert proposal.probability == pytest.approx(probabilities[proposal.query].max().item())
        np.testing.assert_allclose(proposal.mask, masks[proposal.query].sigmoid(), rtol=1e-4, atol=1e-6)


def test_files_pictures_and_arrays_are_the_same(segmenter: Segmenter, tmp_path: Path) -> None:
    image, file = scene(0, 40, 70), tmp_path / "a.png"
    Image.fromarray(image).save(file)
    for result in segmenter.predict([image, file, str(file), Image.fromarray(image), Image.open(file)]):
        assert np.array_equal(result.labels, segmenter.predict(image).labels)
        assert np.array_equal(result.image, image)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    assert np.array_equal(segmenter.predict(grey).labels, segmenter.predict(np.stack([grey] * 3, -1)).labels)


@pytest.mark.parametrize("inference", [None, tta.TestTimeAugmentation(WholeImage(), [1.0, 1.6]), SlidingWindow(32)])
def test_no_image_depends_on_the_others(inference: object, eager: Path) -> None:
    segmenter = weakshot_seg.load(eager, "cpu", inference)
    sizes = [(40, 70), (33, 65), (64, 96), (40, 70), (20, 20), (40, 70), (64, 65)]
    images = [scene(index % 4, *size) for index, size in enumerate(sizes)]
    for image, result in zip(images, segmenter.predict(images), strict=True):
        alone = segmenter.predict(image)
        assert np.array_equal(result.confidence, alone.confidence)
        assert np.array_equal(result.labels, alone.labels)


def test_what_cannot_be_asked(eager: Path, segmenter: Segmenter) -> None:
    with pytest.raises(ConfigError, match="inference=whole"):
        weakshot_seg.load(eager, "cpu", SlidingWindow(32)).predict(scene(0, 64, 64)).proposals()
    with pytest.raises(ConfigError, match="no class 'unicorn'; the model knows"):
        segmenter.predict(scene(0, 40, 40)).scores("unicorn")
    for shape, dtype in (((4, 4, 3), float), ((4, 4, 4), np.uint8), ((0, 4, 3), np.uint8), ((4,), np.uint8)):
        with pytest.raises(DataError, match=r"must be uint8 \[h, w, 3\]"):
            segmenter.predict(np.zeros(shape, dtype))


def test_devices(eager: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="device=quantum"):
        weakshot_seg.load(eager, "quantum")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert weakshot_seg.load(eager).device.type == "cpu"
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)  # of any kind, also Apple's
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    assert weakshot_seg.load(eager).device.type == "meta"


def test_scores_above_one_count_as_one() -> None:
    maps = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8), np.full((2, 2), 1.5, np.float32)
    result = Segmentation(*maps, ClassSplit(("a", "b"), (1,)), raw_scores=None)
    assert [area.confidence for area in result.classes] == [1.0]
