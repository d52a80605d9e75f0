"""The shipped data configurations, each with a tiny data set in its layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from weakshot_seg.config import conf_dir
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.splits import make_split, published_class_names
from weakshot_seg.structures import IGNORE

CONFIGS = sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml"))


def data_of(name: str, *overrides: str) -> WeakShotDataModule:
    top = {"split": 2, "seed": 3, "supervision": "weakshot", "trainer": {"max_steps": 2, "accumulate_grad_batches": 2}}
    config = OmegaConf.create(top | {"data": OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")})
    config.merge_with_dotlist([f"data.{override}" for override in ("num_workers=0", *overrides)])
    data: Any = instantiate(config.data)
    return data


def write(root: Path, config: str, ids: list[list[int]]) -> None:
    """One image and mask in each folder the configuration names; the masks hold ``ids``."""
    settings = OmegaConf.load(conf_dir() / "data" / f"{config}.yaml")
    mask = np.array(ids, dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    for part in ("train", "val"):
        images, masks = root / settings[f"{part}_images"], root / settings[f"{part}_annotations"]
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        Image.fromarray(np.zeros((*mask.shape, 3), np.uint8)).save(images / "a.jpg")
        Image.fromarray(mask).save(masks / "a.png")


def test_all_configurations_are_tested() -> None:
    assert CONFIGS == ["ade20k", "coco_stuff_10k", "folder", "synthetic"]


def test_synthetic() -> None:
    data = data_of("synthetic", "train.num_images=4", "val.num_images=2")
    data.setup()
    batches = list(data.train_dataloader())
    assert [batch.images.shape for batch in batches] == [(8, 3, 96, 96)] * 4
    assert data.class_split == make_split(data.class_names, 2)
    assert next(iter(data.val_dataloader())).images.shape == (2, 3, 96, 96)


def test_folder(tmp_path: Path) -> None:
    write(tmp_path, "folder", [[0, 1], [2, 255]])
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncat\n")
    data = data_of("folder", f"root={tmp_path}", "novel_classes=[cat]")
    data.setup()
    assert [batch.images.shape for batch in data.train_dataloader()] == [(8, 3, 128, 128)] * 4
    assert data.class_split.novel_names == ("cat",)
    truth = next(iter(data.val_dataloader())).truths[0]
    assert truth[::20, ::20].tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize(
    ("config", "stored", "expected", "crop"),
    [
        ("ade20k", [[0, 1], [150, 26]], [[IGNORE, 0], [149, 25]], 512),
        ("coco_stuff_10k", [[0, 1], [170, 255]], [[0, 1], [170, IGNORE]], 640),
    ],
)
def test_published_data_sets(
    tmp_path: Path, config: str, stored: list[list[int]], expected: list[list[int]], crop: int
) -> None:
    write(tmp_path, config, stored)
    data = data_of(config, f"root={tmp_path}", "batch_size=1")
    data.setup()
    assert data.class_names == published_class_names(config)
    assert data.class_split == make_split(data.class_names, 2, published=config)
    assert next(iter(data.train_dataloader())).images.shape == (1, 3, crop, crop)
    batch = next(iter(data.val_dataloader()))
    assert batch.sizes == ((crop, crop),)
    assert batch.truths[0][::20, ::20].tolist() == expected
