"""Image and label files that belong together, and how their ids become class ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import read_mask
from weakshot_seg.structures import IGNORE


@dataclass(frozen=True)
class LabelledFile:
    """An image and its labels, None if it has none; ``name`` is short, without suffix, and unlike all others."""

    name: str
    image: Path
    labels: Path | None


@dataclass(frozen=True)
class LabelFormat:
    """How a label file becomes a map of class ids.

    Attributes:
        stored: Class c is stored as ``stored[c]``, ascending. Ids below the first are unlabelled; no others may occur.
        ignore_label: One more id of unlabelled pixels.
        read: Gives the ids as stored, uint8 ``[h, w]``, of a file that need not be sound; raises ``DataError``.
        remedy: What to do about an unknown id.
    """

    stored: Sequence[int]
    ignore_label: int = IGNORE
    read: Callable[[Path], NDArray[np.uint8]] = read_mask
    remedy: str = "replace it by the original"

    @property
    def num_classes(self) -> int:
        """``K``."""
        return len(self.stored)

    @property
    def is_png(self) -> bool:
        """Labels are quick to read: nothing but PNG files."""
        return self.read is read_mask

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """uint8 ``[256]``, for each stored id its class id or ``IGNORE``."""
        table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
        for class_id, number in enumerate(self.stored):
            if number <= IGNORE and number != self.ignore_label:
                table[number] = class_id
        return table

    def unknown(self, pixels: NDArray[np.int64]) -> list[int]:
        """The ids that may not occur but do, by the pixels of each: int64 ``[256]``."""
        known = {self.ignore_label, *range(self.stored[0]), *self.stored}
        return [number for number in np.flatnonzero(pixels).tolist() if number not in known]

    def load(self, path: Path | None) -> NDArray[np.uint8] | None:
        """The map of class ids and ``IGNORE``, uint8 ``[h, w]``, of a PNG file that has been verified; None for None.

        Unknown ids are unlabelled.
        """
        return None if path is None else self.classes[read_mask(path, verify=False)]
