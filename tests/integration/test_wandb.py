"""W&B runs made offline, read back from their files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from run_rows import training_rows
from wandb_files import OfflineRun, sessions
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.structures import IGNORE

Train = Callable[..., Path]
SPLIT = make_split(SyntheticScenes.class_names, 1)
STARRED = [f"{name} *" if index in SPLIT.novel else name for index, name in enumerate(SPLIT.names)]
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline")
FEW_PICTURES = ("~callbacks.panels", "~callbacks.ranked")


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_MODE", raising=False)
        patch.setenv("WANDB_SILENT", "true")
        yield


@pytest.fixture(scope="module")
def folder(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages of a training."""
    options = ("retrain=true", "trainer.gradient_clip_val=0.5", "callbacks.wandb.num_images=3", *FEW_PICTURES)
    return train(tmp_path_factory.mktemp("wandb"), *OFFLINE, *options)


@pytest.fixture(scope="module")
def first(folder: Path) -> OfflineRun:
    (run,) = sessions(folder)
    return run


@pytest.fixture(scope="module")
def second(folder: Path) -> OfflineRun:
    (run,) = sessions(folder / "retrain")
    return run


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_a_run_is_found_by_group_tags_and_stage(first, second, folder):
    for run, stage, place in ((first, "first", folder), (second, "retrain", folder / "retrain")):
        start = run.start
        assert (start.project, start.job_type) == ("weakshot_seg", stage)
        assert start.display_name == f"synthetic-split1-seed0-{stage}"
        assert set(start.tags) == {"split1", "supervision-weakshot", "labels-image", f"stage-{stage}"}
        assert {"id": start.run_id, "group": start.run_group} == json.loads((place / "wandb_run.json").read_text())
    assert first.start.run_group == second.start.run_group
    assert first.start.run_group.startswith("synthetic-2")
    assert first.start.run_id != second.start.run_id


def test_the_configuration_is_there(first, second):
    assert first.config["model"]["backbone"]["name"] == "test_resnet"
    assert first.config["trainer"]["gradient_clip_val"] == 0.5
    assert first.config["classes"]["novel"] == list(SPLIT.novel_names)
    assert first.config["classes"]["base"] == [SPLIT.names[index] for index in SPLIT.base]
    assert second.config["stage"] == "retrain"


def test_curves(first, folder):
    """Those of the CSV file, of four steps."""
    steps = [row for row in first.history if "train/loss" in row]
    assert len(steps) == 4
    expected = [{name: float(cell) for name, cell in row.items()} for row in training_rows(folder)]
    for row, numbers in zip(steps, expected, strict=True):
        del numbers["epoch"], numbers["step"]
        assert {key: row[key] for key in numbers} == pytest.approx(numbers)
    assert [row["val/miou"] for row in first.history if "val/miou" in row]


def test_the_summary_holds_the_final_result(first, second, report):
    for name in ("base_iou", "novel_iou", "miou", "harmonic_iou"):
        assert first.summary[f"final/{name}"] == pytest.approx(report[name])
        assert f"final/{name}" in second.summary


def test_table_of_classes(first, report):
    rows = first.table("val/classes")
    assert [row["class"] for row in rows] == list(SPLIT.names)
    assert [row["kind"] == "novel" for row in rows] == SPLIT.is_novel().tolist()
    for row, entry in zip(rows, report["classes"], strict=True):
        assert (row["IoU"], row["accuracy"]) == (pytest.approx(entry["iou"]), pytest.approx(entry["accuracy"]))


def test_confusion_matrix(first, report):
    """Rows are shares of the true class: the diagonal is its accuracy, and each row sums to 100 %."""
    rows = first.table("val/confusion_matrix_table")
    assert {row["Actual"] for row in rows} | {row["Predicted"] for row in rows} <= set(STARRED)
    cells = {(row["Actual"], row["Predicted"]): row["nPredictions"] for row in rows}
    for name, entry in zip(STARRED, report["classes"], strict=True):
        if entry["pixels"]:
            assert cells.get((name, name), 0) == pytest.approx(entry["accuracy"])
            assert sum(share for (true, _), share in cells.items() if true == name) == pytest.approx(100)
    assert first.charts["val/confusion_matrix"]["panel_config"]["panelDefId"] == "wandb/confusion_matrix/v1"


def test_images_with_masks(first):
    shown = first.logged("val/images")
    assert (shown["count"], len(shown["captions"])) == (3, 3)
    scenes = SyntheticScenes("validation", 4, size=32)
    for index, (file, masks) in enumerate(zip(shown["filenames"], shown["all_masks"], strict=True)):
        with Image.open(first.folder / file) as picture:
            size = picture.size
        truth = np.asarray(Image.open(first.media(masks["ground_truth"])))
        prediction = np.asarray(Image.open(first.media(masks["prediction"])))
        assert truth.shape == prediction.shape == size[::-1]
        scale = truth.shape[0] // 32
        assert np.array_equal(truth[::scale, ::scale], scenes.load(index)[1])
        assert prediction.max() < len(SPLIT.names)
    labels = json.dumps(first.config) + json.dumps([row for row in first.history if "val/images" in row])
    assert all(f'"{name}"' in labels for name in STARRED)
    assert IGNORE not in prediction


def test_quality_of_the_pseudo_labels(second, first, folder):
    manifest = json.loads((folder / "pseudo_labels" / "manifest.json").read_text())
    rows = second.table("pseudo_labels/classes")
    assert [row["name"] for row in rows] == list(SPLIT.novel_names)
    assert {row["name"]: row["iou"] for row in rows} == manifest["quality"]["iou"]
    for name, value in {**manifest["agreement"], "novel_iou": manifest["quality"]["novel_iou"]}.items():
        assert second.summary[f"pseudo_labels/{name}"] == value
    assert not [key for key in first.summary if key.startswith("pseudo_labels")]


def test_resume_continues_the_run(train, tmp_path):
    settings = (*OFFLINE, "callbacks.last.every_n_steps=1", "trainer.val_check_interval=4", *FEW_PICTURES)
    train(tmp_path, *settings, "trainer.max_steps=2")
    train(tmp_path, *settings, "trainer.max_steps=4", "resume=true")
    before, after = sessions(tmp_path)
    assert (after.start.run_id, after.start.run_group) == (before.start.run_id, before.start.run_group)
    steps = [[row["trainer/global_step"] for row in run.history if "train/loss" in row] for run in (before, after)]
    assert steps == [[0, 1], [2, 3]]
    assert after.config["trainer"]["max_steps"] == 4
