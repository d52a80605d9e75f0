"""Validation photos set aside from those with masks, where there is no folder of them."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from weakshot_seg.data.source import LabelledImages, Selection, by_tag
from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading, replacing
from weakshot_seg.utils.tables import first_few

FILE = "validation_photos.json"
"""In the folder of a run: the names of the photos that were set aside."""
FEWEST = 10
"""From fewer photos with masks none are drawn: training needs them more."""

log = logging.getLogger(__name__)


class SetAside:
    """Training and validation images out of one source: what is set aside for validation never trains.

    The draw depends on the names' order, the masks and the seed, not on which classes are novel: all splits and seeds
    of a training measure on the same photos.

    Args:
        make: Makes all images when they are needed.
        share: Of the photos with masks, see :func:`stratified_draw`.
        seed: Of the draw.
        photos: Names of the photos instead of a draw, or the :data:`FILE` that lists them; ``[]``: none.
    """

    def __init__(
        self, make: Callable[[], LabelledImages], share: float, seed: int, photos: Sequence[str] | str | None = None
    ) -> None:
        self._make, self._share, self._seed = make, share, seed
        self._photos = read_names(Path(photos).expanduser()) if isinstance(photos, str) else photos

    @cached_property
    def whole(self) -> LabelledImages:
        """All images."""
        return self._make()

    def training(self) -> LabelledImages:
        """The images that are not set aside."""
        return Selection(self.whole, np.flatnonzero(~self.chosen)) if self.chosen.any() else self.whole

    def validation(self) -> LabelledImages:
        """Those that are; there may be none."""
        return Selection(self.whole, np.flatnonzero(self.chosen))

    @property
    def names(self) -> list[str]:
        """Of the photos that are set aside."""
        return [self.whole.name(i) for i in np.flatnonzero(self.chosen).tolist()]

    @cached_property
    def chosen(self) -> NDArray[np.bool_]:
        """Which images are set aside: bool ``[len(whole)]``."""
        if self._photos is not None:
            return self._named(self._photos)
        shown = self.whole.presence() & ~by_tag(self.whole)
        masked = np.flatnonzero(shown.any(1))
        chosen = np.zeros(len(shown), dtype=bool)
        if self._share and len(masked) >= FEWEST:
            chosen[masked] = stratified_draw(shown[masked], self._share, self._seed)
        return chosen

    def _named(self, photos: Sequence[str]) -> NDArray[np.bool_]:
        """Names that are gone are only logged: photos may have been removed since they were drawn."""
        names = [self.whole.name(i) for i in range(len(self.whole))]
        if gone := sorted({*photos} - {*names}):
            if len(gone) == len({*photos}):
                raise DataError(
                    f"none of the {len(gone)} validation photos ({first_few(gone)}) is there: set data.root to their "
                    "data, or data.val_images to a folder of validation images"
                )
            log.warning("%d of %d validation photos are gone: %s", len(gone), len({*photos}), first_few(gone))
        return np.isin(names, list(photos))

    def __str__(self) -> str:
        """What was done, in a line."""
        masked = int((self.whole.presence() & ~by_tag(self.whole)).any(1).sum())
        if self.chosen.any():
            count = f"{int(self.chosen.sum())} of the {masked} photos with masks are set aside"
            return f"no validation folder: {count} to measure on, and not trained on (data.val_fraction=0: none)"
        return f"no validation folder, and none of the {masked} photos with masks are set aside: nothing is measured"


def stratified_draw(shown: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.bool_]:
    """Draws a share of images such that every class has about the same: bool ``[n, K]`` (shown classes) -> ``[n]``.

    Iterative stratification (Sechidis et al. 2011): the rarest class is shared out first, each image to the part that
    lacks most of it. The last image of a class is never drawn.
    """
    order = np.random.default_rng(seed).permutation(len(shown))
    shares = np.array([1 - share, share])
    left = shown.sum(0)  # images of each class that are not shared out yet
    undrawn = left.copy()
    wanted, room = np.outer(shares, left), shares * len(shown)
    is_open, drawn = np.ones(len(shown), dtype=bool), np.zeros(len(shown), dtype=bool)
    while left.any():
        rarest = int(np.where(left > 0, left, len(shown) + 1).argmin())
        for i in (i for i in order.tolist() if is_open[i] and shown[i, rarest]):
            lacks = (wanted[1, rarest], room[1]) > (wanted[0, rarest], room[0])
            part = int(lacks and (undrawn[shown[i]] > 1).all())
            is_open[i], drawn[i] = False, part == 1
            left -= shown[i]
            undrawn -= shown[i] * part
            wanted[part, shown[i]] -= 1
            room[part] -= 1
    return drawn


def read_names(file: Path) -> list[str]:
    """The names that :func:`write_names` wrote; else a ``DataError``."""
    with reading(f"the validation photos {file}", f"name a {FILE} of a run"):
        return TypeAdapter(list[str]).validate_json(file.read_bytes())


def write_names(file: Path, names: Sequence[str]) -> None:
    """Writes names of photos, whole or not at all."""
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(list(names), indent=0) + "\n", encoding="ascii")
