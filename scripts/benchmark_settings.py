"""Makes the data folder of a benchmark's setting, with links to the files of one whose training photos all have masks.

    python scripts/benchmark_settings.py ROOT OUT --split 1 --setting tags_only

complete: as it is. tags_only: photos that show a novel class have no mask, only a line with their novel classes in
tags.csv. few_masks: that, and of the other photos a tenth, drawn at random, has a mask. Validation photos keep theirs.
The novel classes are those of --split-file (default: ROOT/splits.json, else drawn at random by the split's number).
"""

import argparse
import csv
import json
import os
import random
from pathlib import Path
from typing import Literal, get_args

from weakshot_seg.data.checks import LabelledFile
from weakshot_seg.data.readers.files import FolderImages, no_mask, pair_files
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.tags import FILE as TAGS
from weakshot_seg.data.tags import HEADER, SEPARATOR
from weakshot_seg.errors import DataError
from weakshot_seg.structures import ClassSplit

Setting = Literal["complete", "tags_only", "few_masks"]
SPLITS = "splits.json"
TRAINING, MASKS = "images/training", "annotations/training"
CLASS_FILES = ("classes.json", "classes.txt", "names.txt")
FEW = 0.1
"""Share of the photos without novel classes that keep their masks in few_masks."""
SEED = 0


def make_setting(
    root: Path,
    out: Path,
    split: int,
    setting: Setting,
    split_file: Path | None = None,
    tags: int | None = None,
    masks: int | None = None,
) -> ClassSplit:
    """Fills ``out``, which must be new or empty; ``tags.csv`` names all training photos, if masks are taken away.

    Only ``tags`` of the photos that show novel classes are there, and ``masks`` of the others, drawn at random; None:
    all. A larger number takes those of a smaller one, too.

    Raises:
        DataError: ``out`` holds something, a training photo has no mask, or the folder or the split cannot be read.
    """
    new_folder(out)
    files, _ = pair_files(root / TRAINING, root / MASKS)
    if lacking := [file for file in files if file.labels is None]:
        raise DataError(no_mask(lacking[0], root / MASKS).message)
    source = FolderImages(root, TRAINING, MASKS, verify=False)
    classes = split_of(root, source.class_names, split, split_file)
    novel = list(classes.novel)
    shown = source.presence()[:, novel]
    order = random.Random(SEED).sample(range(len(files)), len(files))
    groups = ([i for i in order if shown[i].any() == kind] for kind in (True, False))
    taken = {i for group, most in zip(groups, (tags, masks), strict=True) for i in group[:most]}
    draw, rows = random.Random(SEED), []
    for number, (file, there) in enumerate(zip(files, shown, strict=True)):
        if number not in taken:
            continue
        names = [classes.names[i] for i, shows in zip(novel, there, strict=True) if shows]
        rows.append((file.name, SEPARATOR.join(sorted(names))))
        without = setting != "complete" and (names or draw.random() >= (FEW if setting == "few_masks" else 1))
        link_files(root, out, LabelledFile(file.name, file.image, None if without else file.labels))
    link_validation(root, out)
    (out / MASKS).mkdir(parents=True, exist_ok=True)
    (out / SPLITS).write_text(json.dumps({str(split): novel}))
    if setting != "complete":
        with (out / TAGS).open("w", newline="", encoding="utf8") as table:
            csv.writer(table).writerows([HEADER, *rows])
    return classes


def split_of(root: Path, class_names: tuple[str, ...], split: int, split_file: Path | None = None) -> ClassSplit:
    """Base and novel classes by the file, that of the data folder, or chance."""
    own = root / SPLITS
    return make_split(class_names, split, split_file=split_file or (own if own.exists() else None))


def new_folder(out: Path) -> None:
    """A ``DataError`` if the folder holds something."""
    if out.exists() and any(out.iterdir()):
        raise DataError(f"{out} is not empty: remove it, or give another folder")


def link_validation(root: Path, out: Path) -> None:
    """Links the validation photos and their masks, if there are any, and the list of classes."""
    photos, masks = root / "images/validation", root / "annotations/validation"
    if photos.is_dir():
        for file in pair_files(photos, masks if masks.is_dir() else None)[0]:
            link_files(root, out, file)
    for name in CLASS_FILES:
        if (root / name).exists():
            (out / name).symlink_to((root / name).resolve())


def link_files(root: Path, out: Path, file: LabelledFile) -> None:
    """Links a photo and its mask, if it has one, at the same place below another folder."""
    for path in filter(None, (file.image, file.labels)):
        place = out / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.abspath(path))


def main() -> None:
    """Makes one folder and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", type=int, default=1)
    parser.add_argument("--setting", choices=get_args(Setting), default="tags_only")
    parser.add_argument("--split-file", type=Path)
    args = parser.parse_args()
    try:
        classes = make_setting(args.root, args.out, args.split, args.setting, args.split_file)
    except DataError as error:
        parser.error(str(error))
    photos, masks = (len(list((args.out / kind / "training").rglob("*.*"))) for kind in ("images", "annotations"))
    print(f"{args.out}: {photos} training photos, {masks} with a mask; novel: {', '.join(classes.novel_names)}")


if __name__ == "__main__":
    main()
