"""Novel classes by tags alone: trained, predicted, measured where that is possible, and refused where it is not."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

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


def test_a_training_with_a_teacher_goes_on_where_it_stopped(train_tagged):
    settings = ("optim.power=0", "teacher.start=0")  # nothing depends on the number of steps
    state = torch.load(train_tagged(*settings) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert state["teacher.found"].any()
    train_tagged(*settings, "name=parts", "trainer.max_steps=2")
    parts = train_tagged(*settings, "name=parts", "resume=true").parents[1] / "parts" / "split1"
    resumed = torch.load(parts / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert resumed.keys() == state.keys()
    assert all(torch.equal(resumed[name], state[name]) for name in state)
    alone = train_tagged("name=alone", "loss/teacher=none").parents[1] / "alone" / "split1"
    without = torch.load(alone / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert not any(name.startswith("teacher.") for name in without)


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


def test_photos_that_changed_before_a_run_went_on(train_tagged, tagged_photos):
    log = train_tagged("+trainer.max_epochs=50") / "train.log"
    assert "trainer.max_epochs=50 has no effect: training is one pass of trainer.max_steps=3" in log.read_text()
    train_tagged("resume=true", "trainer.max_steps=4")
    assert "that the run began with" not in log.read_text()
    photos, masks = (tagged_photos / kind / "training" for kind in ("images", "annotations"))
    mask = np.array(Image.open(masks / "photo 1.png"))
    mask[3, 3] = 2  # one pixel
    Image.fromarray(mask).save(masks / "photo 1.png")
    Image.new("RGB", (70, 60)).save(photos / "photo 4.jpg")  # tagged alone
    (photos / "photo 5.jpg").rename(photos / "photo 9.jpg")
    tags = tagged_photos / "tags.csv"
    tags.write_text(
        tags.read_text().replace("photo 5,dog;sky", "photo 9,dog;sky").replace("photo 0.jpg,cat", "photo 0,dog")
    )
    train_tagged("resume=true", "trainer.max_steps=5")
    text = "3 changed (photo 0, photo 1, photo 4), 1 new (photo 9), 1 gone (photo 5)"
    assert f"the training images are not those that the run began with: {text}" in log.read_text()
