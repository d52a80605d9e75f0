"""Masks: the ids that were drawn, or a refusal. What a file is, its own header says, not its name."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from weakshot_seg.data.images import MAX_PIXELS, PNG, opened, orientation
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

Ids = NDArray[np.uint8]

GREY, RGB, PALETTE, GREY_ALPHA = 0, 2, 3, 4  # colour types in the header of a PNG file
ANY_ID = range(IGNORE + 1)


@dataclass(frozen=True)
class Mask:
    """What a mask file holds.

    Attributes:
        ids: uint8 ``[h, w]``, as drawn, turned as the file's EXIF orientation says.
        orientation: that orientation, 1 (as stored) to 8.
        colours: of a palette, those of the ids that occur.
        is_tight: the palette has no colour that does not occur, as one that was reduced to make the file smaller.
    """

    ids: Ids
    orientation: int = 1
    colours: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    is_tight: bool = False


def read_mask(path: Path, verify: bool = True, allowed: Collection[int] = ANY_ID, max_pixels: int = MAX_PIXELS) -> Ids:
    """The ids in a mask, see :func:`open_mask`: uint8 ``[h, w]``."""
    return open_mask(path, verify, allowed, max_pixels).ids


def open_mask(path: Path, verify: bool = True, allowed: Collection[int] = ANY_ID, max_pixels: int = MAX_PIXELS) -> Mask:
    """Reads a mask: a PNG file with one channel of ids, of any bit depth, or with a palette, whose numbers are ids.

    Numbers of less than 8 bits, and those of a grey palette, may be ids, or else what an optimiser has made of ids
    (1 of 255). Where the ``allowed`` ids admit only one of the two, it is taken. ``verify`` also finds damage
    that decoders pass over in silence.

    Raises:
        DataError: the ids are not certain (such as lossy formats, colours, transparency), or exceed 255.
    """
    with opened(path, f"mask {path}", "replace it, or remove it and its image", verify, max_pixels) as file:
        if file.format != "PNG":
            raise DataError(
                f"mask {path} is a {file.format} file by its content, which need not keep ids as they were drawn: save "
                "the ids anew as PNG, from what they were drawn with"
            )
        with path.open("rb") as content:
            header = content.read(len(PNG) + 18)
        if header[12:16] != b"IHDR":  # such as Apple's own kind of PNG
            raise OSError("its header does not come first")
        depth, colour_type = header[-2:]
        if getattr(file, "n_frames", 1) > 1:
            raise DataError(f"mask {path} is an animation: save it as a PNG file of one picture")
        if colour_type == GREY_ALPHA and depth == 8:
            alpha = np.asarray(file.getchannel("A"))
            if alpha.min() < 255:
                raise DataError(
                    f"mask {path} has transparent pixels, whose ids are not certain: save it without an alpha channel, "
                    "255 for unlabelled"
                )
        elif colour_type not in (GREY, PALETTE):
            mode = f"mode {file.mode}" if depth == 8 else f"{depth} bits, colour type {colour_type}"
            raise DataError(
                f"mask {path} is a colour picture ({mode}): save it with one channel of class ids 0..K-1, 255 for "
                "unlabelled"
            )
        turn = orientation(file)
        upright = file if turn == 1 else ImageOps.exif_transpose(file)
        if depth == 16:
            return Mask(_of_16_bits(np.asarray(upright), path), turn)
        shown = np.array(upright.getchannel("L") if colour_type == GREY_ALPHA else upright, dtype=np.uint8)
        if colour_type == GREY_ALPHA:
            return Mask(shown, turn)
        if colour_type == PALETTE:
            return _of_palette(shown, file, turn, allowed, path)
        if depth == 8:
            return Mask(shown, turn)
        step = 255 // (2**depth - 1)
        stored = shown if depth == 1 else shown // np.uint8(step)  # Pillow scales 2 and 4 bits, but not 1
        if depth > 1 and not (stored % (2 ** (depth // 2) + 1)).any():
            return Mask(stored, turn)  # an optimiser would have taken fewer bits
        grey = stored * np.uint8(step)
        return Mask(_certain(stored, grey, allowed, path, f"{depth} bit{'s' if depth > 1 else ''} per pixel"), turn)


def _of_16_bits(ids: NDArray[np.generic], path: Path) -> Ids:
    highest = int(ids.max())
    if highest > IGNORE:
        raise DataError(f"mask {path} has the id {highest}: ids must be 0 to 255, 255 for unlabelled")
    return ids.astype(np.uint8)


def _of_palette(stored: Ids, file: Image.Image, turn: int, allowed: Collection[int], path: Path) -> Mask:
    colours = np.array(file.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    used = np.unique(stored)
    if (colours == colours[:, :1]).all() and used.max() < len(colours):
        return Mask(_certain(stored, colours[stored, 0], allowed, path, "a palette of greys"), turn)
    unique, counts = np.unique(colours, axis=0, return_counts=True)
    single = {tuple(row) for row in unique[counts == 1].tolist()}
    shown = {i: tuple(colours[i].tolist()) for i in used.tolist() if i < len(colours)}
    return Mask(stored, turn, {i: rgb for i, rgb in shown.items() if rgb in single}, len(shown) == len(colours))


def _certain(stored: Ids, grey: Ids, allowed: Collection[int], path: Path, how: str) -> Ids:
    """The ids as stored, or as the brightness in which they are shown: whichever are allowed, unless both are."""
    as_stored, as_grey = ({*np.unique(ids).tolist()} for ids in (stored, grey))
    if np.array_equal(stored, grey) or not as_grey <= {*allowed}:
        return stored
    if not as_stored <= {*allowed}:
        return grey
    one, other = next((a, b) for a, b in zip(sorted(as_stored), sorted(as_grey), strict=False) if a != b)
    raise DataError(
        f"mask {path} has {how}: there {one} may be the id {one}, or {other} in a file that was made smaller; save it "
        "with 8 bits per pixel and no palette, and leave out the optimiser of PNG files"
    )
