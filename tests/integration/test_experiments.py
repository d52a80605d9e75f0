"""Every experiment runs from the first step to the last picture, on tiny data in the layout it asks for."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from official_layouts import LAYOUTS
from weakshot_seg import train
from weakshot_seg.config import conf_dir
from weakshot_seg.data.splits import make_split, published_class_names
from weakshot_seg.data.synthetic import SyntheticScenes
from weakshot_seg.structures import IGNORE

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
WORDS = ("sky", "grass", "cat", "dog", "chair")
FOLDERS = ("images/training", "annotations/training", "images/validation", "annotations/validation")
SMALL_CROPS = (
    "data.train_transform.crop_size=32",
    "data.train_transform.short_edge=40",
    "data.train_transform.max_size=80",
    "data.val_transform.short_edge=40",
    "data.val_transform.max_size=80",
    "data.val_batch_size=2",
)
Command = Callable[..., None]
Metrics = Callable[[Path], dict[str, Any]]
WriteImages = Callable[..., None]


def numbers(node: object) -> list[float]:
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        return [number for child in node for number in numbers(child)]
    return [node] if isinstance(node, int | float) else []


def check_run(folder: Path, metrics: dict[str, Any], novel: tuple[str, ...], split: int = 1, pictures: int = 1) -> None:
    """A finished run of four steps leaves all it promises."""
    assert (metrics["step"], metrics["split"], metrics["supervision"]) == (4, split, "weakshot")
    assert metrics["novel_classes"] == list(novel)
    assert [c["name"] for c in metrics["classes"] if c["novel"]] == list(novel)
    assert all(math.isfinite(number) for number in numbers(metrics))
    assert metrics["novel_iou"] is not None
    assert metrics["base_iou"] is not None
    panels = sorted((folder / "pictures").iterdir())
    assert len(panels) == pictures
    assert all(Image.open(panel).size > (64, 32) for panel in panels)
    with next(folder.glob("csv/version_0/metrics.csv")).open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
    for name in ("last", "best"):
        checkpoint = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["weakshot_seg"]["recipe"]["split"] == split
        assert all(weights.isfinite().all() for weights in checkpoint["state_dict"].values())


def test_all_experiments_are_run() -> None:
    assert EXPERIMENTS == ["ade20k", "coco", "folder", "voc"]


def test_default(trained: Path, metrics_of: Metrics) -> None:
    check_run(trained, metrics_of(trained), make_split(SyntheticScenes.class_names, 1).novel_names)


def test_folder(
    command: Command, small: tuple[str, ...], write_images: WriteImages, metrics_of: Metrics, tmp_path: Path
) -> None:
    root = tmp_path / "my photos"
    write_images(root / FOLDERS[0], root / FOLDERS[1], [(0, 2), (1, 3), (0, 3, 4), (2, 1), (4, 0)])
    write_images(root / FOLDERS[2], root / FOLDERS[3], [(0, 1, 2), (3, 4)])
    (root / "classes.txt").write_text("\n".join(WORDS))
    command(
        train.main,
        "experiment=folder",
        *small,
        *SMALL_CROPS,
        f"data.root='{root}'",
        "data.novel_classes=[cat,dog]",
        folder=tmp_path,
    )
    folder = tmp_path / "outputs" / "folder" / "split1"
    check_run(folder, metrics_of(folder), ("cat", "dog"))


CROP = ("data.label_scope=crop",)


@pytest.mark.parametrize(
    ("experiment", "layout", "overrides"),
    [
        ("coco", "COCO-Stuff v1.1", ()),
        ("coco", "COCO-Stuff v1.0", CROP),
        ("coco", "COCO-Stuff of MaskFormer", ("data.batch_size=2", "trainer.accumulate_grad_batches=4")),
        ("ade20k", "ADE20K", CROP),
        ("ade20k", "ADE20K of MaskFormer", ()),
        ("voc", "VOC", ()),
        ("voc", "VOC with SBD", CROP),
    ],
)
def test_published(
    experiment: str,
    layout: str,
    overrides: tuple[str, ...],
    command: Command,
    small: tuple[str, ...],
    metrics_of: Metrics,
    tmp_path: Path,
) -> None:
    published, write = LAYOUTS[layout]
    split = make_split(published_class_names(published), 3, published=published)
    ids = [*split.base[-4:], *split.novel[-4:], IGNORE]
    rng = np.random.default_rng(0)
    blocks = rng.choice(ids, (9, 5, 7)).astype(np.uint8)
    maps = [block.repeat(9 + i % 3, 0).repeat(11 - i % 2, 1) for i, block in enumerate(blocks)]
    write(tmp_path / "data", {"train": maps[:6], "val": maps[6:]})
    command(
        train.main,
        f"experiment={experiment}",
        *small,
        *SMALL_CROPS,
        *overrides,
        "split=3",
        f"data.root={tmp_path}/data",
        "callbacks.panels.num_images=2",
        folder=tmp_path,
    )
    folder = tmp_path / "outputs" / experiment / "split3"
    check_run(folder, metrics_of(folder), split.novel_names, split=3, pictures=2)
