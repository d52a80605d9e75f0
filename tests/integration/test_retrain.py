"""Re-training from end to end: labels, their folder, both stages in one go, resuming, and the leak rule."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from run_rows import training_rows
from weakshot_seg.cli import pseudo_label
from weakshot_seg.cli import train as training
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.prediction.pseudo_labelling import PseudoLabelWriter
from weakshot_seg.structures import IGNORE
from weakshot_seg.training.module import WeakShotModule

SPLIT = make_split(SyntheticScenes.class_names, 1)
CPU = "trainer.accelerator=cpu"
TWO_STEPS = ("trainer.max_steps=2", "callbacks.last.every_n_steps=1", "~callbacks.ranked")


def maps(folder):
    return {path.stem: np.array(Image.open(path)) for path in sorted((folder / "labels").glob("*.png"))}


def same_maps(first, second):
    ours, theirs = maps(first), maps(second)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def same_weights(first, second):
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for folder in (first, second)
    )
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def label(command, eager):
    def run(folder, *overrides):
        folder.parent.mkdir(parents=True, exist_ok=True)
        command(pseudo_label.main, f"ckpt={eager}", f"out={folder}", CPU, *overrides, folder=folder.parent)
        return folder

    return run


@pytest.fixture(scope="module")
def labels(label, tmp_path_factory):
    return label(tmp_path_factory.mktemp("labels") / "out")


@pytest.fixture(scope="module")
def second_stage(labels):
    return (*TWO_STEPS, "stage=retrain", f"pseudo_labels={labels}", "data.train_transform.scale=[0.5,2.0]")


@pytest.fixture(scope="module")
def second(train, second_stage, tmp_path_factory):
    return train(tmp_path_factory.mktemp("second"), *second_stage)


@pytest.fixture(scope="module")
def in_one_go(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("one_go"), "retrain=true", *TWO_STEPS)


def test_labels(labels, eager):
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
    made_with = [content[name] for name in ("complete", "checkpoint", "step", "split", "novel_classes")]
    assert made_with == [True, str(eager), 4, 1, list(SPLIT.novel_names)]
    assert 0 < content["agreement"]["labelled"] <= 100
    assert 0 < content["quality"]["novel_iou"] <= 100
    assert not list(labels.rglob("*.tmp"))


def test_candidates_and_inference_are_a_choice(label, refusal, eager, tmp_path):
    out = label(tmp_path / "out", "candidates=novel", "inference=tta", "inference.scales=[1.0,1.5]")
    assert manifest(out)["inference"]["scales"] == [1.0, 1.5]
    scenes = SyntheticScenes("training", 16, size=32)
    for index, ids in enumerate(maps(out).values()):
        truth = scenes.load(index)[1]
        outside, tags = ~np.isin(truth, SPLIT.base), {c for c in SPLIT.novel if (truth == c).any()}
        assert set(ids[outside].tolist()) <= (tags or {IGNORE})  # every pixel outside the base masks gets a label
        if len(tags) == 1:
            assert np.array_equal(ids[outside & (truth != IGNORE)], truth[outside & (truth != IGNORE)])
    assert (manifest(out)["candidates"], manifest(out)["agreement"]["base_accuracy"]) == ("novel", None)
    line = refusal(pseudo_label.main, f"ckpt={eager}", f"out={out}", CPU, "candidates=image")
    assert "pseudo-labels of another inference" in line


def test_interrupted_labels_go_on(label, labels, tmp_path, monkeypatch):
    step, out = WeakShotModule.predict_step, tmp_path / "out"
    small_batches = ("data=synthetic", "data.val_batch_size=4", "data.train.num_images=16", "data.train.size=32")
    settings = (*small_batches, "data.num_workers=0")
    seen = []

    def fail(module, batch, batch_idx):
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
    assert len(seen) == 3 + 3  # the missing file and the eight that were left, in batches of four
    assert manifest(out)["complete"]
    assert same_maps(out, labels)
    label(out, *settings)
    assert len(seen) == 6  # nothing was left


def test_a_folder_of_something_else_is_refused(trained, eager, labels, refusal, tmp_path):
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
    checkpoint = torch.load(eager, weights_only=True)
    checkpoint["weakshot_seg"]["recipe"]["data"]["supervision"] = "full"  # no first stage
    torch.save(checkpoint, tmp_path / "full.ckpt")
    line = refusal(pseudo_label.main, f"ckpt={tmp_path}/full.ckpt", f"out={tmp_path}/out", CPU)
    assert "supervision=full" in line


def test_labels_and_second_stage_never_see_novel_masks(label, labels, train, second, second_stage, poison, tmp_path):
    """Poisoned masks change the measured quality, and nothing else, to the last bit."""
    changed = poison((*SPLIT.novel, IGNORE))
    ours = label(tmp_path / "out")
    spoilt = train(tmp_path / "spoilt", *second_stage)
    assert sum(changed) > 100
    assert manifest(ours)["quality"] != manifest(labels)["quality"]
    assert manifest(ours)["agreement"] == manifest(labels)["agreement"]
    assert same_maps(ours, labels)
    assert len(training_rows(spoilt)) == 2
    assert training_rows(spoilt) == training_rows(second)
    assert same_weights(spoilt, second)


def test_second_stage_is_plain_maskformer(second, metrics_of):
    terms = {name.split("/")[1] for row in training_rows(second) for name in row if name.startswith("train/")}
    assert terms - {"weighted", "grad_norm", "skipped_steps"} == {"loss", "classification", "mask", "absence"}
    metrics = metrics_of(second)
    assert (metrics["stage"], metrics["supervision"]) == ("retrain", "weakshot")
    assert (metrics["novel_classes"], metrics["novel_iou"] is None) == (list(SPLIT.novel_names), False)


def test_in_one_go_or_one_by_one(in_one_go, command, train, metrics_of, tmp_path):
    out = tmp_path / "labels"
    command(pseudo_label.main, f"ckpt={in_one_go}/checkpoints/last.ckpt", f"out={out}", CPU, folder=tmp_path)
    assert manifest(out) == manifest(in_one_go / "pseudo_labels")
    second = train(tmp_path / "second", *TWO_STEPS, "stage=retrain", f"pseudo_labels={out}")
    assert metrics_of(in_one_go / "retrain") == metrics_of(second)
    assert same_weights(in_one_go / "retrain", second)
    assert (in_one_go / "retrain" / "checkpoints" / "best.ckpt").is_file()
    assert len(list((in_one_go / "retrain" / "pictures").iterdir())) == 1


def test_resumed_at_each_stage(in_one_go, train, metrics_of, tmp_path):
    """One run that breaks off in its first stage, amid the labels, and in its second stage."""
    calls = {"step": 0, "label": 0}

    def cut(name, call, broken):
        def counted(*arguments):
            calls[name] += 1
            if calls[name] in broken:
                raise RuntimeError("power cut")
            return call(*arguments)

        return counted

    settings = ("retrain=true", *TWO_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        for name, owner, method, broken in (
            ("step", WeakShotModule, "training_step", (2, 5)),
            ("label", PseudoLabelWriter, "write_on_batch_end", (1,)),
        ):
            patch.setattr(owner, method, cut(name, getattr(owner, method), broken))
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


def test_labels_of_another_split_are_refused(labels, small, few_scenes, refusal):
    settings = (*small, *few_scenes, "stage=retrain", f"pseudo_labels={labels}", "split=2")
    assert f"{labels} are for other data (novel_classes: " in refusal(training.main, *settings)
