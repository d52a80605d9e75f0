"""``weakshot predict`` of images: sources of every kind, and what is written."""

import errno
import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image

import predicting
import weakshot_seg
from no_images import NO_IMAGES, spoil
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli.predict import main
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError
from weakshot_seg.inference.sliding import SlidingWindow
from weakshot_seg.prediction.segmentation import Segmentation

NUM_CLASSES = len(SyntheticScenes.class_names)
Predict = Callable[..., None]


def photo(path: Path, height: int = 40, width: int = 70, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image, _ = SyntheticScenes("validation", 1, size=96).load(0)
    Image.fromarray(image[:height, :width]).save(path, **options)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two photos, one of them in a folder of its own and lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "in" / "a.png")
    photo(tmp_path / "in" / "deep" / "b.jpg", 33, 20, exif=exif)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def ckpt(trained: Path) -> str:
    return f"ckpt={trained}/checkpoints/last.ckpt"


@pytest.fixture
def predict(ckpt: str, out: Path) -> Predict:
    """Predicts a source to ``out``, unless other settings are given."""
    return lambda source, *settings: predicting.predict(ckpt, f"source={source}", f"out={out}", *settings)


def labels(out: Path) -> dict[str, np.ndarray]:
    maps = {}
    for path in (out / "labels").rglob("*.png"):
        with Image.open(path) as label_map:
            assert label_map.mode == "P"
            assert np.max(label_map) < NUM_CLASSES
            maps[str(path.relative_to(out / "labels").with_suffix(""))] = np.array(label_map)
    return maps


def written(out: Path) -> dict[str, int]:
    """When each file was written."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in written(out)}


def test_folders_lists_and_standard_input(
    predict: Predict,
    ckpt: str,
    source: Path,
    out: Path,
    command: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (source / "notes.txt").write_text("no image")
    predict(source)
    last = f"2 of 2 files are predicted: {out}; 1 other files are left out (1 .txt): {source}/notes.txt"
    assert capsys.readouterr().out.splitlines()[-1] == last
    maps = labels(out)
    assert {name: ids.shape for name, ids in maps.items()} == {"a": (40, 70), "deep/b": (20, 33)}
    for name in maps:
        with Image.open(out / "overlays" / f"{name}.jpg") as overlay:
            assert (overlay.mode, overlay.width > 70) == ("RGB", True)
    paths = [f"{source}/a.png", f"{source}/deep/b.jpg"]
    predict(f"[{','.join(paths)}]", f"out={out}/list")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(paths).encode())))
    command(main, ckpt, "source=-", "device=cpu", f"out={out}/stdin", folder=source)
    assert labels(out / "list").keys() == labels(out / "stdin").keys() == maps.keys()


def test_larger_photos_than_allowed(
    predict: Predict, source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        predict(source, f"max_pixels={33 * 20}")
    assert f"image {source}/a.png has 70x40 pixels, more than max_pixels=660" in capsys.readouterr().err
    assert labels(out).keys() == {"deep/b"}


def test_prediction_is_what_evaluation_measures(trained: Path, predict: Predict, tmp_path: Path) -> None:
    module = load_module(trained / "checkpoints" / "last.ckpt")
    data = instantiate(module.recipe.data)
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    with torch.inference_mode():
        measured = module.predict_step(batch)
    (tmp_path / "in").mkdir()
    for sample in batch:
        Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(tmp_path / "in" / f"{Path(sample.name).name}.png")
    predict(tmp_path / "in")
    maps = labels(tmp_path / "out")
    assert len(maps) == len(measured) == 4
    assert all(np.array_equal(maps[Path(s.name).name], ids) for s, ids in zip(batch, measured, strict=True))


def test_another_inference(eager: Path, predict: Predict, source: Path, out: Path) -> None:
    predict(source, f"ckpt={eager}", "inference=sliding", "inference.window=32")
    whole, sliding = weakshot_seg.load(eager, "cpu"), weakshot_seg.load(eager, "cpu", SlidingWindow(32))
    assert np.array_equal(labels(out)["a"], sliding.predict(source / "a.png").labels)
    assert not np.array_equal(labels(out)["a"], whole.predict(source / "a.png").labels)


def test_classes_and_scores(eager: Path, predict: Predict, source: Path, out: Path, tmp_path: Path) -> None:
    for folder in (out, tmp_path / "again"):
        predict(source, f"ckpt={eager}", "scores=[water,heart]", f"out={folder}")
    assert contents(out) == contents(tmp_path / "again")
    meaning = json.loads((out / "predictions.json").read_text())["classes"]
    assert [entry["name"] for entry in meaning] == list(SyntheticScenes.class_names)
    segmenter = weakshot_seg.load(eager, "cpu")
    for file in (source / "a.png", source / "deep" / "b.jpg"):
        name, result = file.relative_to(source).with_suffix(""), segmenter.predict(file)
        assert np.array_equal(result.labels, labels(out)[str(name)])
        record = json.loads((out / "classes" / f"{name}.json").read_text())
        assert (record["image"], record["height"], record["width"]) == (str(file), *result.labels.shape)
        for entry, area in zip(record["classes"], result.classes, strict=True):
            assert entry == pytest.approx(asdict(area), abs=1e-6)
            assert (entry["name"], entry["novel"]) == (meaning[area.class_id]["name"], meaning[area.class_id]["novel"])
        with np.load(out / "scores" / f"{name}.npz") as scores:
            assert sorted(scores) == ["heart", "water"]
            for class_name, values in scores.items():
                assert values.dtype == np.float16
                np.testing.assert_allclose(values, result.scores(class_name), rtol=2e-3, atol=1e-5)
        with Image.open(out / "labels" / f"{name}.png") as picture:
            colours = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
        assert [entry["color"] for entry in meaning] == ["#" + bytes(colours[i]).hex() for i in range(NUM_CLASSES)]


def test_all_scores_and_no_overlays(predict: Predict, source: Path, out: Path) -> None:
    predict(source, "scores=all", "overlay_size=0")
    assert not (out / "overlays").exists()
    with np.load(out / "scores" / "a.npz") as scores:
        assert list(scores) == list(SyntheticScenes.class_names)
        winners = np.stack(list(scores.values())).astype(np.float32)
    best = np.take_along_axis(winners, labels(out)["a"][None].astype(int), 0)[0]
    np.testing.assert_allclose(best, winners.max(0), rtol=2e-3)


def test_what_is_finished_is_left_alone(predict: Predict, out: Path, tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / "in" / f"{number}.png")
    predict(tmp_path / "in")
    before = written(out)
    predict(tmp_path / "in")
    assert written(out) == before
    (out / "overlays" / "0.jpg").unlink()
    os.utime(tmp_path / "in" / "1.png", (time.time() + 60,) * 2)  # changed after its prediction
    predict(tmp_path / "in")
    after = written(out)
    assert after.keys() == before.keys()
    assert {Path(name).stem for name in after if after[name] != before[name]} == {"0", "1"}
    predict(tmp_path / "in", "scores=[water]")
    before = written(out)
    predict(tmp_path / "in", "overwrite=true")
    after = written(out)
    assert before.keys() - after.keys() == {f"scores/{number}.npz" for number in range(3)}  # not asked for this time
    assert all(after[name] != before[name] for name in after if "/" in name)


def test_killed_between_two_files_of_an_image(
    predict: Predict, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        photo(tmp_path / "in" / f"{number}.png")
    predict(tmp_path / "in", f"out={tmp_path}/straight")
    draw = Segmentation.overlay

    def die(self: Segmentation, **how: object) -> Image.Image:
        if (out / "classes" / "1.json").exists():
            os._exit(9)  # nothing is tidied up
        return draw(self, **how)

    def child() -> None:
        monkeypatch.setattr(Segmentation, "overlay", die)
        predict(tmp_path / "in", "threads=1")

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    kept = written(out)
    assert kept.keys() >= {"labels/2.png"}
    assert not kept.keys() & {"overlays/2.jpg"}
    predict(tmp_path / "in")
    assert contents(out) == contents(tmp_path / "straight")
    assert all(written(out)[name] == kept[name] for name in kept if Path(name).name[0] in "01")


def test_results_of_others_are_not_replaced(predict: Predict, eager: Path, out: Path, tmp_path: Path) -> None:
    photo(tmp_path / "left" / "a.png")
    photo(tmp_path / "right" / "a.png", 20, 20)
    predict(tmp_path / "left")
    before = written(out)
    with pytest.raises(ConfigError, match=r"left/a\.png, which those of .*right/a\.png would replace"):
        predict(tmp_path / "right")
    for other in (f"ckpt={eager}", "inference=sliding"):
        with pytest.raises(ConfigError, match=r"holds predictions of another model or inference .* overwrite=true"):
            predict(tmp_path / "left", other)
    assert written(out) == before
    predict(tmp_path / "right", f"ckpt={eager}", "overwrite=true")
    assert labels(out)["a"].shape == (20, 20)


def test_no_results_of_another_model_remain(predict: Predict, eager: Path, out: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "a/c"):
        photo(tmp_path / "in" / f"{name}.png")
    predict(tmp_path / "in")
    before, other = written(out), f"ckpt={eager}"
    for source, left in (("in/a.png", "a/c"), ("[in/a.png,in/a/c.png]", "b")):
        with pytest.raises(ConfigError, match=rf"does not replace, such as {out}/classes/{left}\.json"):
            predict(source.replace("in/", f"{tmp_path}/in/"), other, "overwrite=true")
    assert written(out) == before
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    with pytest.raises(SystemExit):
        predict(tmp_path / "in", other, "overwrite=true")
    kinds = {"labels": "png", "overlays": "jpg", "classes": "json"}
    left = {f"{kind}/{name}.{suffix}" for kind, suffix in kinds.items() for name in ("a", "a/c")}
    assert written(out).keys() == left | {"predictions.json"}
    (tmp_path / "in" / "b.png").unlink()
    predict(tmp_path / "in" / "a.png", other, "overwrite=true")  # of one model any part may be replaced


def test_results_within_the_source(predict: Predict, source: Path) -> None:
    for _ in range(2):
        for out in (source / "results", source):
            predict(source, f"out={out}")
            assert labels(out).keys() == {"a", "deep/b"}


@pytest.mark.parametrize("setting", ["overwrite=false", "overwrite=true"])
def test_files_of_others_are_not_overwritten(setting: str, predict: Predict, source: Path, out: Path) -> None:
    (out / "labels").mkdir(parents=True)
    for file, message in {"labels/a.png": "has a folder labels", "predictions.json": "is not one of predict"}.items():
        (out / file).write_text("[1]")
        before = contents(out)
        with pytest.raises(ConfigError, match=message):
            predict(source, setting)
        assert contents(out) == before


@pytest.mark.parametrize("threads", [1, 4])
def test_broken_files_are_named_and_the_others_done(
    threads: int, predict: Predict, source: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = photo(source / "b.jpg")
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    spoilt = [broken, *(spoil(source / f"{name}.png", name) for name in sorted(NO_IMAGES))]
    with pytest.raises(SystemExit) as caught:
        predict(source, f"threads={threads}")
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert f"2 of {2 + len(spoilt)} files" in printed.out
    lines = printed.err.splitlines()[-1 - len(spoilt) :]
    assert lines[0] == f"{len(spoilt)} could not be:"
    for path, line in zip(spoilt, lines[1:], strict=True):
        assert str(path) in line
        assert "replace or remove it" in line
    assert labels(out).keys() == {"a", "deep/b"}


def test_a_full_disk(
    ckpt: str, refusal: Callable[..., str], source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    line = refusal(main, ckpt, f"source={source}", f"out={out}")
    assert "No space left on device: make room, and run the same again" in line
    assert not list(out.rglob("*.png"))


def test_settings_that_cannot_be(ckpt: str, refusal: Callable[..., str], source: Path) -> None:
    (source / "file").touch()
    for setting, message in {
        "scores=[water,unicorn]": "scores=unicorn: no such class; the model knows",
        f"out={source}/file": "File exists",
        f"out={source}/file/out": "Not a directory",
        "video_every=0": "video_every=0",
    }.items():
        assert message in refusal(main, ckpt, f"source={source}", setting)
