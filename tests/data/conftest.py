"""Small data sets made on the spot."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.source import LabelledImages
from weakshot_seg.structures import IGNORE


class ArrayImages:
    """Images and label maps given as arrays; implements LabelledImages."""

    def __init__(self, images: Sequence[np.ndarray], maps: Sequence[np.ndarray], num_classes: int) -> None:
        self.class_names = tuple(f"class {i}" for i in range(num_classes))
        self.images, self.maps = list(images), list(maps)

    def __len__(self) -> int:
        return len(self.maps)

    def name(self, index: int) -> str:
        return f"image {index}"

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index].copy(), self.maps[index].copy()

    def presence(self) -> np.ndarray:
        ids = range(len(self.class_names))
        return np.array([[bool((m == i).any()) for i in ids] for m in self.maps], dtype=bool)


@pytest.fixture
def make_images() -> Callable[..., LabelledImages]:
    """Random pictures of blocks: 4x4 blocks of one class each, some unlabelled."""

    def make(count: int = 12, classes: int = 8, block: int = 12, seed: int = 0) -> ArrayImages:
        rng = np.random.default_rng(seed)
        maps = []
        for _ in range(count):
            present = np.append(rng.choice(classes, 4, replace=False), IGNORE).astype(np.uint8)
            maps.append(np.kron(rng.choice(present, (4, 4)), np.ones((block, block), np.uint8)))
        images = [rng.integers(256, size=(*m.shape, 3), dtype=np.uint8) for m in maps]
        return ArrayImages(images, maps, classes)

    return make


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """A data folder of photos and masks: three training images of different sizes and one validation image."""

    def make(classes: Sequence[str] = ("sky", "grass", "cat"), offset: int = 0) -> Path:
        rng = np.random.default_rng(0)
        sizes = {"training": [(20, 30), (33, 17), (24, 24)], "validation": [(20, 30)]}
        for part, shapes in sizes.items():
            for kind in ("images", "annotations"):
                (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
            for i, shape in enumerate(shapes):
                ids = rng.integers(len(classes), size=shape).astype(np.uint8) + offset
                Image.fromarray(rng.integers(256, size=(*shape, 3), dtype=np.uint8)).save(
                    tmp_path / "images" / part / f"photo{i}.jpg"
                )
                Image.fromarray(ids).save(tmp_path / "annotations" / part / f"photo{i}.png")
        (tmp_path / "classes.txt").write_text("\n".join(classes) + "\n")
        return tmp_path

    return make
