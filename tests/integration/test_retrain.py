"""Re-training from end to end: labels, their folder, both stages in one go, resuming, and the leak rule."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weakshot_seg import train as training
from weakshot_seg.cli import pseudo_label
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.structures import IGNORE
from weakshot_seg.training.module import WeakShotModule

Train = Callable[..., Path]
Command = Callable[..., None]
Metrics = Callable[[Path], dict[str, Any]]
Refusal = Callable[..., str]
Label = Callable[..., Path]
SPLIT = make_split(SyntheticScenes.class_names, 1)
CPU = "trainer.accelerator=cpu"
TWO_STEPS = ("trainer.max_steps=2", "callbacks.last.every_n_steps=1", "~callbacks.ranked")


def maps(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.array(Image.open(path)) for path in sorted((folder / "labels").glob("*.png"))}


def same_maps(first: Path, second: Path) -> bool:
    ours, theirs = maps(first), maps(second)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def losses(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k.startswith("train/")} for row in csv.DictReader(file)]
    return [row for row in rows if row["train/loss"]]


def same_weights(first: Path, second: Path) -> bool:
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (first, second)
    )
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def label(command: Command, eager: Path) -> Label:
    def run(folder: Path, *overrides: str) -> Path:
        folder.parent.mkdir(parents=True, exist_ok=True)
        command(pseudo_label.main, f"ckpt={eager}", f"out={folder}", CPU, *overrides, folder=folder.parent)
        return folder

    return run


@pytest.fixture(scope="module")
def labels(label: Label, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(tmp_path_factory.mktemp("labels") / "out")


@pytest.fixture(scope="module")
def second_stage(labels: Path) -> tuple[str, ...]:
    return (*TWO_STEPS, "stage=retrain", f"pseudo_labels={labels}", "data.train_transform.scale=[0.5,2.0]")


@pytest.fixture(scope="module")
def second(train: Train, second_stage: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("second"), *second_stage)


@pytest.fixture(scope="module")
def in_one_go(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("one_go"), "retrain=true", *TWO_STEPS)


def test_labels(labels: Path, eager: Path) -> None:
    scenes, found = SyntheticScenes("training", 16, size=32), maps(labels)
    assert list(found) == [scenes.name(i) for i in range(16)]
    novel_pixels = 0
    for index, (name, ids) in enumerate(found.items()):
        truth = scenes.load(index)[1]
        base = np.isin(truth, SPLIT.base)
        assert np.array_equal(ids[base], truth[base]), name
        given = set(ids[~base].tolist()) - {IGNORE}
        assert given <= {c for c in SPLIT.novel if (truth == c).any()}, name
        novel_pixels += int((ids[~base] != IGNORE).sum())
    assert novel_pixels > 100
    content = manifest(labels)
    assert content["complete"]
    assert (content["checkpoint"], content["step"], content["split"]) == (str(eager), 4, 1)
    assert content["novel_classes"] == list(SPLIT.novel_names)
    assert 0 < content["agreement"]["labelled"] <= 100
    assert 0 < content["quality"]["novel_iou"] <= 100
    assert not list(labels.rglob("*.tmp"))


def test_inference_is_a_choice(label: Label, labels: Path, tmp_path: Path) -> None:
    out = label(tmp_path / "out", "inference=tta", "inference.scales=[1.0,1.5]")
    assert manifest(out)["inference"]["scales"] == [1.0, 1.5]
    assert maps(out).keys() == maps(labels).keys()
    assert not same_maps(out, labels)


def test_candidates_are_a_choice(label: Label, refusal: Refusal, eager: Path, tmp_path: Path) -> None:
    out = label(tmp_path / "out", "candidates=novel")
    scenes = SyntheticScenes("training", 16, size=32)
    for index, ids in enumerate(maps(out).values()):
        truth = scenes.load(index)[1]
        outside, tags = ~np.isin(truth, SPLIT.base), {c for c in SPLIT.novel if (truth == c).any()}
        assert set(ids[outside].tolist()) <= (tags or {IGNORE})  # every pixel outside the base masks gets a label
        if len(tags) == 1:
            assert np.array_equal(ids[outside & (truth != IGNORE)], truth[outside & (truth != IGNORE)])
    assert manifest(out)["candidates"] == "novel"
    assert manifest(out)["agreement"]["base_accuracy"] is None
    line = refusal(pseudo_label.main, f"ckpt={eager}", f"out={out}", CPU, "candidates=image")
    assert "pseudo-labels of another candidates" in line


def test_interrupted_labels_go_on(label: Label, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, out = WeakShotModule.predict_step, tmp_path / "out"
    small_batches = ("data=synthetic", "data.val_batch_size=4", "data.train.num_images=16", "data.train.size=32")
    settings = (*small_batches, "data.num_workers=0")
    seen: list[int] = []

    def fail(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        seen.append(batch_idx)
        if len(seen) == 3:
            raise RuntimeError("power cut")
        return step(module, batch, batch_idx)

    monkeypatch.setattr(WeakShotModule, "predict_step", fail)
    with pytest.raises((RuntimeError, SystemExit)):
        label(out, *settings)
    assert len(maps(out)) == 8
    assert not manifest(out)["complete"]
    (out / "labels" / "training_00001.png").unlink()
    label(out, *settings)
    assert len(seen) == 3 + 3  # the batch with the missing file and the two that were left
    assert manifest(out)["complete"]
    assert same_maps(out, labels)
    label(out, *settings)
    assert len(seen) == 6  # nothing was left


def test_a_folder_of_something_else_is_refused(
    trained: Path, eager: Path, labels: Path, refusal: Refusal, tmp_path: Path
) -> None:
    before = manifest(labels)
    line = refusal(pseudo_label.main, f"ckpt={trained}/checkpoints/last.ckpt", f"out={labels}", CPU)
    assert f"out={labels}" in line
    assert "another weights" in line
    line = refusal(pseudo_label.main, f"ckpt={eager}", f"out={labels}", CPU, "inference=tta")
    assert "another inference" in line
    assert manifest(labels) == before
    (tmp_path / "labels").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "labels" / "a.png")
    assert "without a manifest" in refusal(pseudo_label.main, f"ckpt={eager}", f"out={tmp_path}", CPU)


def test_only_of_a_first_stage(eager: Path, refusal: Refusal, tmp_path: Path) -> None:
    checkpoint = torch.load(eager, weights_only=True)
    checkpoint["weakshot_seg"]["recipe"]["data"]["supervision"] = "full"
    torch.save(checkpoint, tmp_path / "full.ckpt")
    line = refusal(pseudo_label.main, f"ckpt={tmp_path}/full.ckpt", f"out={tmp_path}/out", CPU)
    assert "supervision=full" in line


def poison(patch: pytest.MonkeyPatch) -> list[int]:
    """Permutes the ids of novel and unlabelled pixels in every training image; counts those changed by each load."""
    load, changed = SyntheticScenes.load, []

    def poisoned(scenes: SyntheticScenes, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, truth = load(scenes, index)
        if scenes.part == "training":
            where, before = ~np.isin(truth, SPLIT.base), truth.copy()
            truth[where] = np.random.default_rng(index).permutation(truth[where])
            changed.append(int((truth != before).sum()))
        return image, truth

    patch.setattr(SyntheticScenes, "load", poisoned)
    return changed


def test_labels_and_second_stage_never_see_novel_masks(
    label: Label, labels: Path, train: Train, second: Path, second_stage: tuple[str, ...], tmp_path: Path
) -> None:
    """Poisoned masks change the measured quality, and nothing else, to the last bit."""
    with pytest.MonkeyPatch.context() as patch:
        changed = poison(patch)
        ours = label(tmp_path / "out")
        spoilt = train(tmp_path / "spoilt", *second_stage)
    assert sum(changed) > 100
    assert manifest(ours)["quality"] != manifest(labels)["quality"]
    assert manifest(ours)["agreement"] == manifest(labels)["agreement"]
    assert same_maps(ours, labels)
    assert len(losses(spoilt)) == 2
    assert losses(spoilt) == losses(second)
    assert same_weights(spoilt, second)


def test_second_stage_is_plain_maskformer(second: Path, metrics_of: Metrics) -> None:
    terms = {name.split("/")[1] for row in losses(second) for name, value in row.items() if value and "/" in name}
    assert terms - {"weighted", "grad_norm", "skipped_steps"} == {"loss", "classification", "mask", "absence"}
    metrics = metrics_of(second)
    assert (metrics["stage"], metrics["supervision"]) == ("retrain", "weakshot")
    assert metrics["novel_classes"] == list(SPLIT.novel_names)
    assert metrics["novel_iou"] is not None


def test_in_one_go_or_one_by_one(
    in_one_go: Path, command: Command, train: Train, metrics_of: Metrics, tmp_path: Path
) -> None:
    out = tmp_path / "labels"
    command(pseudo_label.main, f"ckpt={in_one_go}/checkpoints/last.ckpt", f"out={out}", CPU, folder=tmp_path)
    assert manifest(out) == manifest(in_one_go / "pseudo_labels")
    second = train(tmp_path / "second", *TWO_STEPS, "stage=retrain", f"pseudo_labels={out}")
    assert metrics_of(in_one_go / "retrain") == metrics_of(second)
    assert same_weights(in_one_go / "retrain", second)
    assert (in_one_go / "retrain" / "checkpoints" / "best.ckpt").is_file()
    assert len(list((in_one_go / "retrain" / "pictures").iterdir())) == 1


def test_resumed_at_each_stage(in_one_go: Path, train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    """One run that breaks off in its first stage, amid the labels, and in its second stage."""
    step, predict = WeakShotModule.training_step, WeakShotModule.predict_step
    calls = {"step": 0, "label": 0}

    def cut_step(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        calls["step"] += 1
        if calls["step"] in (2, 5):
            raise RuntimeError("power cut")
        return step(module, batch, batch_idx)

    def cut_predict(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        calls["label"] += 1
        if calls["label"] == 1:
            raise RuntimeError("power cut")
        return predict(module, batch, batch_idx)

    settings = ("retrain=true", *TWO_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", cut_step)
        patch.setattr(WeakShotModule, "predict_step", cut_predict)
        for resumed, steps, labels in (((), 2, 0), (("resume=true",), 3, 1), (("resume=true",), 5, 2)):
            with pytest.raises((RuntimeError, SystemExit)):
                train(tmp_path, *settings, *resumed)
            assert calls == {"step": steps, "label": labels}
            assert not (tmp_path / "retrain" / "metrics.json").exists()
        train(tmp_path, *settings, "resume=true")
    assert calls == {"step": 6, "label": 2}
    assert metrics_of(tmp_path) == metrics_of(in_one_go)
    assert metrics_of(tmp_path / "retrain") == metrics_of(in_one_go / "retrain")
    assert same_weights(tmp_path / "retrain", in_one_go / "retrain")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("stage=retrain", "pseudo_labels=/nowhere"), "/nowhere holds no pseudo-labels"),
        (("retrain=true", "supervision=base_only"), "supervision=weakshot, not base_only"),
        (("stage=retrain", "pseudo_labels=LABELS", "split=2"), "LABELS are for other data (novel_classes: "),
        (("stage=retrain", "pseudo_labels=LABELS", "data.train.seed=3"), "LABELS are for other images"),
    ],
)
def test_what_is_refused(
    settings: tuple[str, ...],
    problem: str,
    labels: Path,
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    refusal: Refusal,
) -> None:
    ours = [setting.replace("LABELS", str(labels)) for setting in settings]
    assert problem.replace("LABELS", str(labels)) in refusal(training.main, *small, *few_scenes, *ours)
