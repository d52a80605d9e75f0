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
SPLIT = make_split(SyntheticScenes.class_names, 1)
CPU = "trainer.accelerator=cpu"
TWO_STEPS = ("trainer.max_steps=2", "callbacks.last.every_n_steps=1")


def maps(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.array(Image.open(path)) for path in sorted((folder / "labels").glob("*.png"))}


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def losses(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k.startswith("train/")} for row in csv.DictReader(file)]
    return [row for row in rows if row["train/loss"]]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def label(command: Command, eager: Path) -> Callable[..., Path]:
    def run(folder: Path, *overrides: str) -> Path:
        folder.parent.mkdir(parents=True, exist_ok=True)
        arguments = (f"ckpt={eager}", f"out={folder}", CPU, *overrides)
        command(pseudo_label.main, *arguments, folder=folder.parent)
        return folder

    return run


@pytest.fixture(scope="module")
def labels(label: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(tmp_path_factory.mktemp("labels") / "out")


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


def test_inference_is_a_choice(label: Callable[..., Path], labels: Path, tmp_path: Path) -> None:
    settings = ("inference=tta", "inference@inference.inner=sliding", "inference.inner.window=32")
    out = label(tmp_path / "out", *settings)
    assert manifest(out)["inference"]["inner"]["window"] == 32
    ours, whole = maps(out), maps(labels)
    assert ours.keys() == whole.keys()
    assert any(not np.array_equal(ours[name], whole[name]) for name in ours)


def test_candidates_are_a_choice(label: Callable[..., Path], refusal: Refusal, tmp_path: Path) -> None:
    out = label(tmp_path / "out", "candidates=novel")
    scenes, found = SyntheticScenes("training", 16, size=32), maps(out)
    for index, ids in enumerate(found.values()):
        truth = scenes.load(index)[1]
        outside, tags = ~np.isin(truth, SPLIT.base), {c for c in SPLIT.novel if (truth == c).any()}
        assert set(ids[outside].tolist()) <= (tags or {IGNORE})  # every pixel outside the base masks gets a label
        if len(tags) == 1:
            assert np.array_equal(ids[outside & (truth != IGNORE)], truth[outside & (truth != IGNORE)])
    assert manifest(out)["candidates"] == "novel"
    assert manifest(out)["agreement"]["base_accuracy"] is None
    assert "pseudo-labels of another candidates" in refusal(
        pseudo_label.main, f"ckpt={manifest(out)['checkpoint']}", f"out={out}", CPU, "candidates=image"
    )


def test_interrupted_labels_go_on(
    label: Callable[..., Path], labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    whole = maps(labels)
    assert all(np.array_equal(ids, whole[name]) for name, ids in maps(out).items())
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


def test_only_of_a_first_stage(train: Train, refusal: Refusal, tmp_path: Path) -> None:
    folder = train(tmp_path / "full", "supervision=full", *TWO_STEPS)
    ckpt = f"ckpt={folder}/checkpoints/last.ckpt"
    assert "supervision=full" in refusal(pseudo_label.main, ckpt, f"out={tmp_path}/out", CPU)


def test_labels_and_second_stage_never_see_novel_masks(
    label: Callable[..., Path], labels: Path, train: Train, tmp_path: Path
) -> None:
    """Poisoned masks change the measured quality, and nothing else, to the last bit."""
    stage = ("stage=retrain", f"pseudo_labels={labels}", "data.train_transform.scale=[0.5,2.0]")
    clean = train(tmp_path / "clean", *stage)
    with pytest.MonkeyPatch.context() as patch:
        changed = poison(patch)
        ours = label(tmp_path / "out")
        spoilt = train(tmp_path / "spoilt", *stage)
    assert sum(changed) > 100
    assert manifest(ours)["quality"] != manifest(labels)["quality"]
    assert manifest(ours)["agreement"] == manifest(labels)["agreement"]
    theirs = maps(labels)
    assert all(np.array_equal(ids, theirs[name]) for name, ids in maps(ours).items())
    assert len(losses(spoilt)) == 4
    assert losses(spoilt) == losses(clean)
    assert same(weights(spoilt), weights(clean))


def test_second_stage_is_plain_maskformer(train: Train, labels: Path, metrics_of: Metrics, tmp_path: Path) -> None:
    folder = train(tmp_path, "stage=retrain", f"pseudo_labels={labels}")
    terms = {name.split("/")[1] for row in losses(folder) for name, value in row.items() if value and "/" in name}
    assert terms - {"weighted", "grad_norm", "skipped_steps"} == {"loss", "classification", "mask", "absence"}
    metrics = metrics_of(folder)
    assert (metrics["stage"], metrics["supervision"]) == ("retrain", "weakshot")
    assert metrics["novel_classes"] == list(SPLIT.novel_names)
    assert metrics["novel_iou"] is not None


@pytest.fixture(scope="module")
def in_one_go(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("one_go"), "retrain=true", *TWO_STEPS)


def test_in_one_go_or_one_by_one(
    in_one_go: Path, command: Command, train: Train, metrics_of: Metrics, tmp_path: Path
) -> None:
    first = train(tmp_path / "first", *TWO_STEPS)
    out = tmp_path / "labels"
    command(pseudo_label.main, f"ckpt={first}/checkpoints/last.ckpt", f"out={out}", CPU, folder=tmp_path)
    second = train(tmp_path / "second", *TWO_STEPS, "stage=retrain", f"pseudo_labels={out}")
    assert metrics_of(in_one_go) == metrics_of(first)
    assert metrics_of(in_one_go / "retrain") == metrics_of(second)
    assert same(weights(in_one_go / "retrain"), weights(second))
    ours, theirs = manifest(in_one_go / "pseudo_labels"), manifest(out)
    assert ours.pop("checkpoint") != theirs.pop("checkpoint")
    assert ours == theirs
    assert (in_one_go / "retrain" / "checkpoints" / "best.ckpt").is_file()
    assert len(list((in_one_go / "retrain" / "pictures").iterdir())) == 1


@pytest.mark.parametrize("where", ["first stage", "labels", "second stage"])
def test_resumed_at_each_stage(where: str, in_one_go: Path, train: Train, metrics_of: Metrics, tmp_path: Path) -> None:
    step, predict, calls = WeakShotModule.training_step, WeakShotModule.predict_step, {"steps": 0}

    def cut_step(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        calls["steps"] += 1
        if calls["steps"] == {"first stage": 2, "second stage": 4}.get(where):
            raise RuntimeError("power cut")
        return step(module, batch, batch_idx)

    def cut_predict(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        if where == "labels":
            raise RuntimeError("power cut")
        return predict(module, batch, batch_idx)

    settings = ("retrain=true", *TWO_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", cut_step)
        patch.setattr(WeakShotModule, "predict_step", cut_predict)
        with pytest.raises((RuntimeError, SystemExit)):
            train(tmp_path, *settings)
    done = calls["steps"]
    assert not (tmp_path / "retrain" / "metrics.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", cut_step)  # counts on
        train(tmp_path, *settings, "resume=true")
    assert calls["steps"] - done == {"first stage": 3, "labels": 2, "second stage": 1}[where]
    assert metrics_of(tmp_path) == metrics_of(in_one_go)
    assert metrics_of(tmp_path / "retrain") == metrics_of(in_one_go / "retrain")
    assert same(weights(tmp_path / "retrain"), weights(in_one_go / "retrain"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("stage=retrain",), "pseudo_labels=DIR"),
        (("pseudo_labels=/nowhere",), "stage=retrain"),
        (("stage=retrain", "pseudo_labels=/nowhere"), "/nowhere holds no pseudo-labels"),
        (("stage=retrain", "pseudo_labels=/nowhere", "retrain=true"), "leave out stage=retrain"),
        (("retrain=true", "supervision=base_only"), "supervision=weakshot, not base_only"),
    ],
)
def test_contradictions_are_refused(
    settings: tuple[str, ...], told: str, small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Refusal
) -> None:
    assert told in refusal(training.main, *small, *few_scenes, *settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("split=2",), "other novel classes"),
        (("data.train.num_images=12",), "16 images, but there are 12"),
        (("data.train.seed=3",), "other images"),
    ],
)
def test_labels_of_other_data_are_refused(
    settings: tuple[str, ...],
    told: str,
    labels: Path,
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    refusal: Refusal,
) -> None:
    line = refusal(training.main, *small, *few_scenes, "stage=retrain", f"pseudo_labels={labels}", *settings)
    assert str(labels) in line
    assert told in line
