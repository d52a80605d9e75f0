"""Photos and indexed label masks in two folders: ``data=folder``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from weakshot_seg.data.class_names import read_class_names
from weakshot_seg.data.images import IMAGE_SUFFIXES, image_size, read_image, read_mask
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE


class FolderImages:
    """Image and mask files that belong together by name: ``images/a.jpg`` and ``annotations/a.png``.

    Every mask is read at construction: for the table of classes per image, and to find everything wrong with the data
    before training starts.

    Args:
        root: Folder of the data set.
        images: Folder of the images, relative to ``root``; sub-folders are searched too.
        annotations: Folder of the masks (PNG with one channel of class ids), with the same layout as ``images``.
        class_names: Names, or a file of them, or None: see :func:`~weakshot_seg.data.class_names.read_class_names`.
        label_offset: Subtracted from the ids in the masks; ids below it are unlabelled. 1 for ADE20K, where 0 is
            unlabelled.
        ignore_label: Id in the masks of unlabelled pixels.
        verify: Also decode every image once, to find truncated files.

    Attributes:
        class_names: ``K`` names; the position is the class id.

    Raises:
        DataError: see the checks in this file; the message names the first culprit, the remedy, and how many more
            there are.
    """

    def __init__(
        self,
        root: str | Path,
        images: str,
        annotations: str,
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: int = 0,
        ignore_label: int = IGNORE,
        verify: bool = True,
    ) -> None:
        if not 0 <= ignore_label <= IGNORE or not 0 <= label_offset <= IGNORE:
            raise ConfigError(
                f"label_offset and ignore_label must be 0 to {IGNORE}, got {label_offset} and {ignore_label}"
            )
        root = Path(root).expanduser()
        if not root.is_dir():
            raise DataError(f"the data folder {root.absolute()} does not exist: set data.root")
        self.class_names = read_class_names(class_names, root)
        self._files = _pair(root / images, root / annotations)
        self._ids, self._known_ids = _id_tables(len(self.class_names), label_offset, ignore_label)
        self._presence = self._check_all(verify)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's path within its folder, without the suffix."""
        return self._files[index][0]

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]`` of ids 0..K-1 and ``IGNORE``."""
        _, image, mask = self._files[index]
        return read_image(image), self._ids[read_mask(mask)]

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows: bool ``[len, K]``, a copy."""
        return self._presence.copy()

    def _check_all(self, verify: bool) -> NDArray[np.bool_]:
        presence = np.zeros((len(self), len(self.class_names)), dtype=bool)
        problems: list[str] = []

        def check(index: int) -> None:
            try:
                presence[index] = self._check(index, verify)
            except DataError as error:
                problems.append(str(error))

        # Pillow frees the interpreter lock while it decodes, so threads are enough.
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 32)) as pool:
            tasks = pool.map(check, range(len(self)))
            for _ in tqdm(tasks, "checking data", len(self), delay=1, leave=False, disable=None):
                pass
        if problems:
            raise DataError(_first_and_count(sorted(problems)))
        return presence

    def _check(self, index: int, verify: bool) -> NDArray[np.bool_]:
        """Checks one pair of files and returns the classes in its mask."""
        _, image, mask = self._files[index]
        ids = read_mask(mask)
        size = read_image(image).shape[:2] if verify else image_size(image)
        if ids.shape != size:
            raise DataError(
                f"mask {mask} is {ids.shape[1]}x{ids.shape[0]} but its image is {size[1]}x{size[0]}: resize the mask "
                "(nearest neighbour) or replace it"
            )
        seen = np.zeros(IGNORE + 1, dtype=bool)
        seen[ids] = True
        unknown = np.flatnonzero(seen & ~self._known_ids)
        if len(unknown):
            known = np.flatnonzero(self._ids != IGNORE)
            raise DataError(
                f"mask {mask} has the id {unknown[0]}, but the {len(self.class_names)} class names allow {known[0]} to "
                f"{known[-1]}: add class names, correct the mask, or set data.label_offset or data.ignore_label"
            )
        present = np.zeros(len(self.class_names), dtype=bool)
        present[self._ids[seen & (self._ids != IGNORE)]] = True
        return present


def _id_tables(num_classes: int, offset: int, ignore_label: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """For each id in a file: its class id (or ``IGNORE``), and whether it may occur at all."""
    stored = np.arange(IGNORE + 1)
    classes = stored - offset
    is_class = (classes >= 0) & (classes < num_classes) & (stored != ignore_label)
    return np.where(is_class, classes, IGNORE).astype(np.uint8), is_class | (stored == ignore_label) | (classes < 0)


def _pair(image_folder: Path, mask_folder: Path) -> list[tuple[str, Path, Path]]:
    """Name, image and mask of every pair, sorted by name."""
    images = _by_name(image_folder, IMAGE_SUFFIXES, "images")
    masks = _by_name(mask_folder, frozenset({".png"}), "masks (PNG)")
    without_mask = sorted(images.keys() - masks.keys())
    without_image = sorted(masks.keys() - images.keys())
    if without_mask:
        raise DataError(
            f"{len(without_mask)} of {len(images)} images have no mask, the first is {images[without_mask[0]]}: "
            f"add {mask_folder / without_mask[0]}.png or remove the image"
        )
    if without_image:
        raise DataError(
            f"{len(without_image)} of {len(masks)} masks have no image, the first is {masks[without_image[0]]}: "
            f"add {image_folder / without_image[0]}.jpg or remove the mask"
        )
    return [(name, images[name], masks[name]) for name in sorted(images)]


def _by_name(folder: Path, suffixes: Iterable[str], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"the folder {folder.absolute()} does not exist: create it, or set the paths in data.train and data.val"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise DataError(f"{files[name]} and {path} have the same name: keep one of them")
        files[name] = path
    if not files:
        raise DataError(
            f"there are no {what} in {folder.absolute()} ({', '.join(sorted(suffixes))}): check the paths in data"
        )
    return files


def _first_and_count(problems: list[str]) -> str:
    more = len(problems) - 1
    return problems[0] + (f" (and {more} more)" if more else "")
