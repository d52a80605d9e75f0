"""The examples on the pages do what the pages say."""

import csv
import inspect
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import weakshot_seg
from pages import blocks
from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli import train as training
from weakshot_seg.data.importers import formats
from weakshot_seg.data.importers.source import Source
from weakshot_seg.errors import ConfigError
from weakshot_seg.interface.run import Run
from weakshot_seg.interface.training import train as training_from_python
from weakshot_seg.prediction.segmentation import Segmentation

Train = Callable[..., Path]
ON_PAGES = [
    block for kind in ("python", "yaml") for block in blocks(kind) if block.page.startswith("docs/contributing")
]


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the pages, in a folder that Python looks in."""
    for block in ON_PAGES:
        (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / block.title).write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings_on(page: str) -> list[str]:
    """What follows ``weakshot train`` on a page."""
    (line,) = [line for block in blocks("bash") for line in block.text.splitlines() if block.page == page]
    return shlex.split(line)[3:]


def test_they_are_short() -> None:
    assert {block.page.rpartition("/")[2] for block in ON_PAGES} == {
        "loss.md",
        "backbone.md",
        "data-set.md",
        "importer.md",
    }
    assert all(len(block.text.splitlines()) < 40 for block in ON_PAGES)


def test_loss(examples: Path, train: Train) -> None:
    run = train(examples / "run", "trainer.max_steps=2", *settings_on("docs/contributing/loss.md"))
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/outlines/variation"]]
    for row in rows:
        assert float(row["train/weighted/outlines/variation"]) == pytest.approx(
            0.2 * float(row["train/outlines/variation"]), rel=1e-4
        )
    assert rows
    with pytest.raises(ConfigError, match="allow_targets"):
        load_module(run / "checkpoints" / "last.ckpt")
    assert load_module(run / "checkpoints" / "last.ckpt", ["short_outlines"])


def test_backbone(
    examples: Path, command: Callable[..., None], small: tuple[str, ...], few_scenes: tuple[str, ...]
) -> None:
    others = [setting for setting in (*small, *few_scenes) if not setting.startswith("model.backbone")]
    command(training.main, *others, *settings_on("docs/contributing/backbone.md"), folder=examples)
    module = load_module(examples / "outputs/synthetic/split1/checkpoints/last.ckpt", ["plain_backbone"])
    assert module.model.backbone.channels == (32, 64, 128, 256)


def test_data_set(examples: Path, command: Callable[..., None], small: tuple[str, ...]) -> None:
    command(training.main, *settings_on("docs/contributing/data-set.md"), *small, folder=examples)
    metrics = json.loads((examples / "outputs/dots/split1/metrics.json").read_text())
    assert metrics["novel_classes"] == ["blue"]
    assert metrics["step"] == 4


def test_importer(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    via = __import__("via")
    monkeypatch.setattr(formats, "FORMATS", {**formats.FORMATS, "via": via})
    points = [(5.0, 4.0), (30.0, 8.0), (20.0, 28.0)]
    shape = {"name": "polygon", "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}
    entry = {
        "filename": "a.jpg",
        "size": 1,
        "regions": [{"shape_attributes": shape, "region_attributes": {"class": "heron"}}],
    }
    export = examples / "export"
    export.mkdir()
    Image.new("RGB", (40, 32)).save(export / "a.jpg")
    (export / "via.json").write_text(json.dumps({"a.jpg1": entry, "b.jpg2": {**entry, "filename": "b.jpg"}}))
    found = formats.read_source(Source(export), "auto")
    assert (found.title, found.classes) == ("VGG Image Annotator", ["heron"])
    assert [record.name for record in found.records] == ["a.jpg"]
    assert "b.jpg" in str(found.problems[0])
    (outline,) = found.records[0].regions[0].shape.outlines
    assert outline.tolist() == [list(point) for point in points]


@pytest.mark.parametrize("page", ["README.md", "docs/get-started.md"])
def test_python_of_the_first_pages_runs(
    page: str, trained: Path, tagged_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block.text for block in blocks("python") if block.page == page)
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").symlink_to(trained / "checkpoints" / "last.ckpt")
    (run / "pictures").symlink_to(trained / "pictures")
    (run / "metrics.json").symlink_to(trained / "metrics.json")

    def stub(*words: Any, **settings: Any) -> Run:
        inspect.signature(training_from_python).bind(*words, **settings)
        return Run(run)

    monkeypatch.setattr(weakshot_seg, "train", stub)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save("photo.jpg")
    names: dict[str, Any] = {}
    exec(code.replace('"ROOT"', repr(str(tagged_photos))), names)
    assert isinstance(names["result"], Segmentation)
    assert (tmp_path / "overlay.png").exists()
