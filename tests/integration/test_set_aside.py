"""Without a validation folder: a training measures on photos that it never sees, and so do all later commands."""

import json

import pytest
import torch

from weakshot_seg.cli import evaluate, train
from weakshot_seg.data.weak_labels import WeakShotDataset

SETTINGS = (
    *("experiment=folder", "data.novel_classes=[cat]", "trainer.max_steps=2", "~callbacks.panels", "~callbacks.ranked"),
    *("data.train_transform.crop_size=32", "data.train_transform.short_edge=40", "data.val_transform.short_edge=40"),
)


@pytest.fixture
def loaded(monkeypatch):
    """Names of the photos that training has loaded."""
    names, load = set(), WeakShotDataset.load

    def watched(dataset, index):
        names.add(dataset.name(index))
        return load(dataset, index)

    monkeypatch.setattr(WeakShotDataset, "load", watched)
    return names


def test_the_same_photos_in_every_command(command, small, write_images, metrics_of, loaded, tmp_path):
    root = tmp_path / "photos"
    write_images(root / "images/training", root / "annotations/training", [(0, 1), (0, 2)] * 6)
    (root / "classes.txt").write_text("sky\ngrass\ncat")
    settings = (*small, *SETTINGS, f"data.root={root}")
    command(train.main, *settings, folder=tmp_path)
    run = tmp_path / "outputs" / "folder" / "split1"
    names = json.loads((run / "validation_photos.json").read_text())
    assert 0 < len(names) < 5
    assert loaded
    assert not loaded & {*names}
    metrics = metrics_of(run)
    assert metrics["novel_iou"] is not None

    more = [(0, 1), (0, 2)] * 14
    write_images(tmp_path / "more/images", tmp_path / "more/masks", more)
    for number in range(12, 28):  # photos that are added would change a draw
        (tmp_path / f"more/images/photo {number}.jpg").rename(root / f"images/training/photo {number}.jpg")
        (tmp_path / f"more/masks/photo {number}.png").rename(root / f"annotations/training/photo {number}.png")
    ckpt = run / "checkpoints" / "last.ckpt"
    command(evaluate.main, f"ckpt={ckpt}", "~callbacks.panels", "~callbacks.ranked", folder=tmp_path)
    again = metrics_of(tmp_path / "outputs" / "evaluate" / "split1")
    assert [c["iou"] for c in again["classes"]] == [c["iou"] for c in metrics["classes"]]

    longer = (*settings, "trainer.max_steps=4", "resume=true")
    command(train.main, *longer, folder=tmp_path)
    assert json.loads((run / "validation_photos.json").read_text()) == names
    assert not loaded & {*names}
    saved = torch.load(ckpt, weights_only=True)
    assert saved["global_step"] == 4
    assert saved["weakshot_seg"]["recipe"]["data"]["val_photos"] == names

    # a run that set none aside measures on none when it goes on: all may have been trained on
    (run / "validation_photos.json").unlink()
    command(train.main, *settings, "trainer.max_steps=5", "resume=true", folder=tmp_path)
    assert metrics_of(run)["novel_iou"] is None
