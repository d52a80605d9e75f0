"""The table of the benchmark of tags, and the baseline that makes masks from activation maps."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cam_baseline
from benchmark_tags import Job, finished, table
from weakshot_seg.errors import UserError
from weakshot_seg.structures import ClassSplit, Knowledge

SIDE = 64
SQUARE = slice(8, 40)


def write_metrics(out: Path, setting: str, split: int, novel: str, **ious: float) -> None:
    classes = [{"name": name, "novel": name == novel, "iou": iou} for name, iou in ious.items()]
    result = {"step": 1, "seconds": 1.0, "classes": classes, "base_iou": None, "novel_iou": None, "miou": None}
    result |= {"split": split, "seed": 0}
    folder = Job(setting, split, ()).folder(out)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(result))


def test_one_full_training_bounds_every_split(tmp_path: Path) -> None:
    write_metrics(tmp_path, "full", 1, "cat", cat=60.0, dog=40.0, sky=90.0)
    write_metrics(tmp_path, "tags_only", 1, "cat", cat=50.0, dog=30.0, sky=90.0)
    write_metrics(tmp_path, "tags_only", 2, "dog", cat=60.0, dog=20.0, sky=80.0)
    full, tags = table(finished(tmp_path)).splitlines()[2:]
    # split 1: base (40 + 90) / 2, novel 60; split 2: base (60 + 90) / 2, novel 40
    assert full == "| full | 2 | 70.0 ± 7.1 | 50.0 ± 14.1 | 100 % |"
    assert tags == "| tags_only | 2 | 65.0 ± 7.1 | 35.0 ± 21.2 | 70 % |"


def test_a_training_that_was_killed_after_a_validation_is_not_finished(tmp_path: Path) -> None:
    write_metrics(tmp_path, "tags_only", 1, "cat", cat=50.0, dog=30.0)
    folder = Job("tags_only", 1, ()).folder(tmp_path)
    status = {"state": "running", "pid": 1, "host": "elsewhere"}
    status |= {"name": "folder", "split": 1, "seed": 0, "stage": "first", "supervision": "weakshot"}
    (folder / "status.json").write_text(json.dumps(status))
    assert finished(tmp_path) == {}
    (folder / "status.json").write_text(json.dumps(status | {"state": "finished"}))
    assert list(finished(tmp_path)) == ["tags_only"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Photos with a red square (masks), with a green one (tags alone), and of nothing."""
    root = tmp_path / "root"
    rows = ["image,classes"]
    for number in range(24):
        kind = number % 3
        pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
        pixels[SQUARE, SQUARE] = ([230, 20, 20], [20, 230, 20], [128] * 3)[kind]
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[SQUARE, SQUARE] = (1, 2, 0)[kind]
        images, masks = root / "images/training", root / "annotations/training"
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(images / f"{number:02}.png")
        if kind == 1:
            rows.append(f"{number:02}.png,green")
        else:
            rows.append(f"{number:02}.png,")
            Image.fromarray(mask).save(masks / f"{number:02}.png")
    (root / "tags.csv").write_text("\n".join(rows))
    (root / "classes.txt").write_text("nothing\nred\ngreen\n")
    return root


def test_activations_become_masks_of_photos_with_tags_alone(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = cam_baseline.make_masks(
        root,
        out,
        "nothing",
        60,
        [
            "data.val_fraction=0",
            "data.num_workers=0",
            "data.train_transform.crop_size=64",
            "data.train_transform.short_edge=64",
            "data.val_transform.short_edge=64",
            "model.backbone.pretrained=false",
            "model.backbone.freeze_norm=false",
            "model.backbone.name=resnet10t",
        ],
    )
    assert "16 true masks, 8 from activations" in said
    masks = {path.stem: np.asarray(Image.open(path)) for path in (out / "annotations/training").iterdir()}
    assert len(masks) == len(list((out / "images/training").iterdir())) == 24
    for name, mask in masks.items():
        if int(name) % 3 != 1:
            assert (mask == np.asarray(Image.open(root / "annotations/training" / f"{name}.png"))).all()
    green = np.stack([masks[name] for name in masks if int(name) % 3 == 1])
    assert set(np.unique(green)) <= {0, 1, 2}
    inside = np.zeros((SIDE, SIDE), bool)
    inside[SQUARE, SQUARE] = True
    assert (green[:, inside] == 2).mean() > 2 * (green[:, ~inside] == 2).mean()
    with pytest.raises(UserError, match="is not empty"):
        cam_baseline.make_masks(root, out, None, 1, [])
    with pytest.raises(UserError, match="--background sky is no class: use one of nothing, red, green"):
        cam_baseline.make_masks(root, tmp_path / "other", "sky", 1, ["data.val_fraction=0"])


class Photos:
    """One photo, and a data module with it: the left half is red, whether something is green nobody knows."""

    class_split = ClassSplit(("nothing", "red", "green"), (2,))
    knowledge = np.array([[Knowledge.MASK, Knowledge.MASK, Knowledge.UNKNOWN]])

    def __init__(self) -> None:
        self.known = np.array([[True, True, False]])
        self.train_dataset = self

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        true = np.repeat(np.array([[1, 1, 0, 0]], np.uint8), 4, 0)
        return np.zeros((4, 4, 3), np.uint8), true


class Columns(nn.Module):
    """The same activations for every photo, of the two classes by column."""

    def __init__(self, *classes: Sequence[float]) -> None:
        super().__init__()
        self.columns = torch.tensor([[0.0] * len(classes[0]), *classes])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        photo = self.columns[:, None].expand(-1, 4, -1)
        return torch.stack([photo, photo.flip(-1)])


def test_the_threshold_is_that_of_the_best_masks() -> None:
    photos = Photos()
    model = Columns([1.0, 0.62, 0.42, 0.0], [1.0, 0.0, 0.0, 0.3])  # green is found below 0.3 alone
    threshold = cam_baseline.choose_threshold(model, photos, lambda image: image, [0], 0)
    assert 0.42 <= threshold < 0.62
    assert photos.known.tolist() == [[True, True, False]]


def test_activation_maps_are_those_of_the_photo_and_its_mirror_image() -> None:
    maps, probabilities = cam_baseline.activations(Columns([0.0, 4.0], [-1.0, -1.0]), torch.zeros(3, 32, 32), (4, 2))
    assert maps.tolist() == [4 * [[0.0, 0.0]], 4 * [[0.0, 1.0]], 4 * [[0.0, 0.0]]]
    assert probabilities.tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-2.0)), 1 / (1 + np.e)])
