"""Generated scenes as a data folder, for what is measured on files."""

from pathlib import Path

import numpy as np
from PIL import Image

from weakshot_seg.data.synthetic.scenes import Part, SyntheticScenes


def write_scenes(root: Path, training: int, validation: int, size: int) -> None:
    """So many photos of ``size`` x ``size`` pixels (JPEG) with their masks, in the layout of ``experiment=folder``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("\n".join(SyntheticScenes.class_names))
    counts: dict[Part, int] = {"training": training, "validation": validation}
    for part, count in counts.items():
        scenes = SyntheticScenes(part, count, size)
        images, masks = root / "images" / part, root / "annotations" / part
        for folder in (images, masks):
            folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            photo, labels = scenes.load(index)
            Image.fromarray(photo).save(images / f"{index:05d}.jpg", quality=92)
            Image.fromarray(np.asarray(labels)).save(masks / f"{index:05d}.png")
