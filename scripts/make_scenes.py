"""Makes a data folder of generated scenes, to try the commands for photos of one's own before there are any.

    python scripts/make_scenes.py scenes
    weakshot check experiment=folder data.root=scenes html=check.html

Hearts and crescents are novel: no mask has them, tags.csv says which photos show them. Every other one of these photos
has no mask at all. Validation photos have masks of all classes.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark_settings import new_folder
from weakshot_seg.data.synthetic.scenes import Part, SyntheticScenes
from weakshot_seg.data.tags import FILE, HEADER, SEPARATOR
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

NOVEL = ("heart", "crescent")


def make_scenes(out: Path, training: int, validation: int, size: int) -> None:
    """Fills ``out``, which must be new or empty; a DataError if it holds something."""
    new_folder(out)
    rows = [HEADER]
    parts: dict[Part, int] = {"training": training, "validation": validation}
    for part, count in parts.items():
        scenes = SyntheticScenes(part, count, size)
        folders = [out / kind / part for kind in ("images", "annotations")]
        for folder in folders:
            folder.mkdir(parents=True)
        for number in range(count):
            tags: list[str] = []
            name = f"{number:04}.png"
            photo, labels = scenes.load(number)
            if part == "training":
                tags = [novel for novel in NOVEL if (labels == scenes.class_names.index(novel)).any()]
                rows.append((name, SEPARATOR.join(tags)))
                labels[np.isin(labels, [scenes.class_names.index(novel) for novel in NOVEL])] = IGNORE
            Image.fromarray(photo).save(folders[0] / name)
            if part == "validation" or not tags or number % 2:
                Image.fromarray(labels).save(folders[1] / name)
    (out / "classes.txt").write_text("\n".join(SyntheticScenes.class_names) + "\n", encoding="utf8")
    with (out / FILE).open("w", newline="", encoding="utf8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--training", type=int, default=1200, help="training photos")
    parser.add_argument("--validation", type=int, default=60, help="validation photos")
    parser.add_argument("--size", type=int, default=96, help="pixels of their edges, a multiple of 32")
    args = parser.parse_args()
    try:
        make_scenes(args.out, args.training, args.validation, args.size)
    except DataError as error:
        parser.error(str(error))
