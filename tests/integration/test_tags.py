"""Novel classes by tags alone: trained, predicted, measured where that is possible, and refused where it is not."""

import shutil

import pytest
import torch

from weakshot_seg.cli import evaluate, predict, train


def test_without_validation_images(train_tagged, metrics_of, command, refusal, tagged_photos, tmp_path):
    folder = train_tagged()
    metrics = metrics_of(folder)
    assert metrics["novel_classes"] == ["cat", "dog"]  # those that have tags and no masks
    assert metrics["step"] == 3
    assert metrics["novel_iou"] is metrics["base_iou"] is None
    assert "novel IoU cannot be measured" in (folder / "train.log").read_text()
    assert "without a single mask: cat, dog" in (folder / "train.log").read_text()
    assert not (folder / "pictures").exists()
    checkpoint = folder / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(weights.isfinite().all() for weights in state.values())

    assert "there are no validation images" in refusal(evaluate.main, f"ckpt={checkpoint}", "trainer.accelerator=cpu")
    photos = tagged_photos / "images" / "training"
    command(predict.main, f"ckpt={checkpoint}", f"source='{photos}'", "device=cpu", folder=tmp_path)
    assert len(list((tmp_path / "predictions" / "labels").glob("photo ?.png"))) == 6


def test_validation_images_without_masks_give_pictures(train_tagged, metrics_of, tagged_photos):
    images = tagged_photos / "images"
    (images / "validation").mkdir()
    shutil.copy(images / "training" / "photo 0.jpg", images / "validation" / "new.jpg")
    folder = train_tagged()
    assert metrics_of(folder)["miou"] is None
    assert [path.name for path in (folder / "pictures").iterdir()] == ["00_new.png"]


@pytest.mark.parametrize("setting", ["data.label_scope=crop", "data.supervision=full"])
def test_what_needs_novel_masks_is_refused(setting, refusal, small, tagged_photos):
    line = refusal(train.main, "experiment=folder", *small, f"data.root={tagged_photos}", setting)
    assert f"{setting} needs masks of all classes, but 4 images have no mask of some class" in line
