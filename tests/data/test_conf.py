"""The shipped data configurations, each with a tiny data set in its layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from official_layouts import LAYOUTS, NUM_CLASSES, random_maps, write_coco, write_photo, write_png
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.splits import make_split, published_class_names

CONFIGS = sorted(path.stem for path in (conf_dir() / "data").glob("*.yaml"))


def data_of(name: str, *overrides: str) -> WeakShotDataModule:
    top = {"split": 2, "seed": 3, "supervision": "weakshot", "trainer": {"max_steps": 2, "accumulate_grad_batches": 2}}
    config = OmegaConf.create(top | {"data": OmegaConf.load(conf_dir() / "data" / f"{name}.yaml")})
    config.merge_with_dotlist([f"data.{override}" for override in ("num_workers=0", *overrides)])
    data: Any = instantiate(config.data)
    return data


def test_all_configurations_are_tested() -> None:
    assert CONFIGS == ["ade20k", "coco_stuff_10k", "folder", "synthetic", "voc2012"]


def test_synthetic() -> None:
    data = data_of("synthetic", "train.num_images=4", "val.num_images=2")
    data.setup()
    batches = list(data.train_dataloader())
    assert [batch.images.shape for batch in batches] == [(8, 3, 96, 96)] * 4
    assert data.class_split == make_split(data.class_split.names, 2)
    assert next(iter(data.val_dataloader())).images.shape == (2, 3, 96, 96)


def test_folder(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 255]], dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    for part in ("training", "validation"):
        write_photo(tmp_path / "images" / part / "a.jpg", mask)
        write_png(tmp_path / "annotations" / part / "a.png", mask)
    (tmp_path / "classes.txt").write_text("sky\ngrass\ncat\n")
    data = data_of("folder", f"root={tmp_path}", "novel_classes=[cat]")
    data.setup()
    assert [batch.images.shape for batch in data.train_dataloader()] == [(8, 3, 128, 128)] * 4
    assert data.class_split.novel_names == ("cat",)
    truth = next(iter(data.val_dataloader())).truths[0]
    assert truth[::20, ::20].tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize(
    ("config", "layout", "crop"),
    [("ade20k", "ADE20K", 512), ("coco_stuff_10k", "COCO-Stuff v1.1", 640), ("voc2012", "VOC", 512)],
)
def test_published_data_sets(tmp_path: Path, config: str, layout: str, crop: int) -> None:
    name, write = LAYOUTS[layout]
    maps = random_maps(NUM_CLASSES[name], train=2, val=1, size=(40, 40))
    write(tmp_path, maps)
    data = data_of(config, f"root={tmp_path}", "batch_size=1", f"cache_dir={tmp_path}/cache")
    data.setup()
    assert data.class_split.names == published_class_names(config)
    assert data.class_split == make_split(data.class_split.names, 2, published=config)
    assert next(iter(data.train_dataloader())).images.shape == (1, 3, crop, crop)
    batch = next(iter(data.val_dataloader()))
    assert batch.sizes == ((crop, crop),)
    assert batch.truths[0].tolist() == maps["val"][0].tolist()
    assert (tmp_path / "cache").is_dir()
    assert not list(tmp_path.rglob(".weakshot_seg"))


def test_the_four_splits_share_one_cache(tmp_path: Path) -> None:
    write_coco(tmp_path, random_maps(171, train=2, val=1))
    splits = []
    for split in range(1, 5):
        data = data_of("coco_stuff_10k", f"root={tmp_path}", f"split={split}")
        data.setup()
        splits.append(data.class_split)
    assert len(set(splits)) == 4
    assert len([path for path in (tmp_path / ".weakshot_seg").iterdir() if path.is_dir()]) == 2
