"""Where tags and masks contradict each other: masks that were not meant, ids that mean other classes, tags left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.bool_]

FEW = 3
"""Fewer photos than this are no pattern."""
STRAY_PIXELS, STRAY_SHARE = 32, 0.005
"""A class with less in each mask that shows it (on average) is there by accident, if more photos have but its tags."""


@dataclass(frozen=True)
class TagsAndMasks:
    """What tags and masks say of the same photos; all tables are bool ``[n, K]``.

    Attributes:
        tagged: by tags, the photo shows the class.
        denied: by tags, it does not.
        shown: the mask shows the class.
        covered: the mask shows all there is of the class, if it has masks at all.
        pixels: int64 ``[K]``, pixels of each class in all masks.
        sizes: int64 ``[n, 2]``, height and width of each photo.
    """

    names: Sequence[str]
    tagged: Table
    denied: Table
    shown: Table
    covered: Table
    pixels: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def stray(self) -> NDArray[np.bool_]:
        """Classes with some pixels in a few masks, and tags in more photos that have none: bool ``[K]``."""
        area = self.shown.T.astype(np.int64) @ self.sizes.prod(1)
        more_tags = (self.tagged & ~self.shown).sum(0) > self.shown.sum(0)
        few = (self.pixels < STRAY_PIXELS * self.shown.sum(0)) & (self.pixels < STRAY_SHARE * area)
        return self.shown.any(0) & more_tags & few

    def stray_remarks(self) -> list[str]:
        """What is done about them, a line each."""
        return [
            f"the class '{self.names[i]}' has {self.pixels[i]} pixels in {self.shown[:, i].sum()} masks, and tags in "
            f"{self.tagged[:, i].sum()} photos: these pixels are taken for unlabelled, and the class has no masks; "
            "remove them, or complete its masks"
            for i in np.flatnonzero(self.stray()).tolist()
        ]

    def problems(self) -> list[str]:
        """Classes that masks show in many photos whose tags, elsewhere used for that class, do not name them."""
        denied, agreed = (self.denied & self.shown).sum(0), (self.tagged & self.shown).sum(0)
        used = (self.tagged & self.covered).any(0)
        wrong = used & (denied >= FEW) & (denied >= agreed) & ~self.stray()
        return [
            f"the class '{self.names[i]}': in {denied[i]} of the {denied[i] + agreed[i]} photos whose masks show it, "
            f"their tags do not name it: correct the tags or the masks{self._shifted()}"
            for i in np.flatnonzero(wrong).tolist()
        ]

    def _shifted(self) -> str:
        if self.shown[:, 0].any() or self.tagged[:, 0].any():
            return ""
        return f" (no mask has the first class, '{self.names[0]}': if ids start one higher, set data.label_offset)"


def mostly_tagged(names: Sequence[str], base: Sequence[int], tagged: Table, shown: Table, covered: Table) -> str:
    """What is wrong if base classes are tagged in more photos with masks that lack them than masks show them, or ""."""
    lacking, have = (tagged & covered & ~shown).sum(0), shown.sum(0)
    for i in base:
        if lacking[i] >= FEW and lacking[i] > have[i]:
            return (
                f"the class '{names[i]}' is tagged in {lacking[i]} photos whose masks do not show it, and masks show "
                f"it in {have[i]}: name it novel (data.novel_classes=[...]), or complete its masks"
            )
    return ""
