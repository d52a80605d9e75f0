"""Small data sets made on the spot."""

import numpy as np
import pytest
from PIL import Image

from array_images import ArrayImages
from weakshot_seg.structures import IGNORE


@pytest.fixture
def make_images():
    """Random pictures of blocks: 4x4 blocks of one class each, some unlabelled."""

    def make(count=12, classes=8, block=12, seed=0):
        rng = np.random.default_rng(seed)
        maps = []
        for _ in range(count):
            present = np.append(rng.choice(classes, 4, replace=False), IGNORE).astype(np.uint8)
            maps.append(np.kron(rng.choice(present, (4, 4)), np.ones((block, block), np.uint8)))
        images = [rng.integers(256, size=(*m.shape, 3), dtype=np.uint8) for m in maps]
        return ArrayImages(images, maps, classes)

    return make


@pytest.fixture
def make_folder(tmp_path):
    """A data folder of photos and masks: three training images of different sizes and one validation image."""

    def make(classes=("sky", "grass", "cat"), offset=0):
        rng = np.random.default_rng(0)
        sizes = {"training": [(20, 30), (33, 17), (24, 24)], "validation": [(20, 30)]}
        for part, shapes in sizes.items():
            for kind in ("images", "annotations"):
                (tmp_path / kind / part).mkdir(parents=True, exist_ok=True)
            for i, shape in enumerate(shapes):
                ids = rng.integers(len(classes), size=shape).astype(np.uint8) + offset
                photo = rng.integers(256, size=(*shape, 3), dtype=np.uint8)
                Image.fromarray(photo).save(tmp_path / f"images/{part}/photo{i}.jpg")
                Image.fromarray(ids).save(tmp_path / f"annotations/{part}/photo{i}.png")
        (tmp_path / "classes.txt").write_text("\n".join(classes) + "\n")
        return tmp_path

    return make
