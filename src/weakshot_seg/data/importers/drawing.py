"""Polygons, run lengths and pictures -> one map of class ids."""

import base64
import io
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.data.importers.records import Bitmap, Bits, MaskFile, Polygons, Region, RunLengths, Value
from weakshot_seg.data.masks import read_mask
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import reading

TOLERANCE = 1.0
"""Pixels that a polygon may reach beyond the photo: tools round. It is cut off there."""
Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels of a class within a picture: bool ``[h, w]`` with its corner at row ``y`` and column ``x``."""

    name: str
    bits: Bits
    y: int = 0
    x: int = 0
    layer: int = 0

    @property
    def order(self) -> tuple[int, int]:
        """Patches are drawn in this order: of one layer the smaller ones last."""
        return self.layer, -int(np.count_nonzero(self.bits))


def patch_of(region: Region, size: Size) -> Patch:
    """The pixels of a region in a photo of a size; a ``DataError`` if it does not fit."""
    if isinstance(region.shape, Bitmap):
        with reading("its bitmap", "draw it again"):
            bits = region.shape.decode()
        x, y = region.shape.x, region.shape.y
        if x < 0 or y < 0 or y + bits.shape[0] > size[0] or x + bits.shape[1] > size[1]:
            raise DataError(
                f"a bitmap of {bits.shape[1]} x {bits.shape[0]} pixels at ({x}, {y}) reaches outside the photo of "
                f"{size[1]} x {size[0]}"
            )
        return Patch(region.name, bits, y, x, region.layer)
    bits = _inside(region.shape, size) if isinstance(region.shape, Polygons) else _decoded(region.shape, size)
    return _cut(region, bits)


def paint(patches: list[Patch], size: Size, ids: Mapping[str, int]) -> NDArray[np.uint8]:
    """The map of class ids, uint8 ``[h, w]``, 255 outside all patches and where a patch has no id."""
    label_map = np.full(size, IGNORE, dtype=np.uint8)
    for patch in sorted(patches, key=lambda patch: patch.order):
        height, width = patch.bits.shape
        label_map[patch.y : patch.y + height, patch.x : patch.x + width][patch.bits] = ids.get(patch.name, IGNORE)
    return label_map


def patches_of_file(mask: MaskFile, size: Size) -> list[Patch]:
    """The pixels of each class in a mask file; a ``DataError`` if its size or an id or colour is another."""
    coloured = any(isinstance(value, tuple) for value in mask.classes)
    stored = _colours(mask) if coloured else _ids(mask).astype(np.int64)
    if stored.shape != size:
        height, width = stored.shape
        raise DataError(f"the mask has {width} x {height} pixels, its photo {size[1]} x {size[0]}: export both again")
    patches = []
    for number in np.unique(stored).tolist():
        value: Value = (number >> 16, number >> 8 & 255, number & 255) if coloured else number
        if value not in mask.classes:
            known = ", ".join(f"{key} {name or 'unlabelled'}" for key, name in list(mask.classes.items())[:4])
            kind = "colour" if coloured else "id"
            raise DataError(f"the mask has the {kind} {value}, which has no name; known are {known}, ...: add it")
        if (name := mask.classes[value]) is not None:
            patches.append(Patch(name, stored == number))
    return patches


def _ids(mask: MaskFile) -> NDArray[np.uint8]:
    return read_mask(mask.file, allowed={value for value in mask.classes if isinstance(value, int)})


def _colours(mask: MaskFile) -> NDArray[np.int64]:
    with reading(f"mask {mask.file}", "export it again"), Image.open(mask.file) as file:
        red, green, blue = np.moveaxis(np.asarray(file.convert("RGB"), dtype=np.int64), 2, 0)
    joined: NDArray[np.int64] = red << 16 | green << 8 | blue
    return joined


def _coco_masks() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError("polygons and run lengths need pycocotools: pip install -e '.[import]'") from error
    return mask


def _inside(shape: Polygons, size: Size) -> Bits:
    """The pixels as COCO's tools count them, bool ``[h, w]``."""
    inside = _any_inside(shape.outlines, size)
    return inside & ~_any_inside(shape.holes, size) if shape.holes else inside


def _any_inside(outlines: tuple[NDArray[np.float64], ...], size: Size) -> Bits:
    height, width = size
    for points in outlines:
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3:
            raise DataError("a polygon needs 3 or more points, each of x and y")
        if not np.isfinite(points).all():
            raise DataError("a polygon has a point that is no number")
        beyond = np.maximum(-points, points - (width, height)).max(1)
        worst = int(beyond.argmax())
        if beyond[worst] > TOLERANCE:
            x, y = (f"{value:g}" for value in points[worst])
            raise DataError(f"the polygon is outside the photo of {width} x {height} pixels at ({x}, {y})")
    coco = _coco_masks()
    flat = [np.clip(points, 0, (width, height)).ravel().tolist() for points in outlines]
    bits: Bits = coco.decode(coco.merge(coco.frPyObjects(flat, height, width))).astype(bool)
    return bits


def _decoded(shape: RunLengths, size: Size) -> Bits:
    if tuple(shape.size) != size:
        raise DataError(
            f"its run lengths are for {shape.size[1]} x {shape.size[0]} pixels, the photo has {size[1]} x {size[0]}"
        )
    coco = _coco_masks()
    if isinstance(shape.counts, str):
        code = {"size": list(size), "counts": shape.counts.encode()}
    else:
        _check_sum(shape.counts, math.prod(size))
        code = coco.frPyObjects({"size": list(size), "counts": list(shape.counts)}, *size)
    with reading("its run lengths", "draw it again"):
        bits: Bits = coco.decode(code).astype(bool)
    return bits


def _check_sum(counts: tuple[int, ...], pixels: int) -> None:
    if min(counts, default=0) < 0 or sum(counts) != pixels:
        raise DataError(f"its run lengths add up to {sum(counts)} pixels instead of {pixels}")


def _cut(region: Region, bits: Bits) -> Patch:
    """The patch around the pixels that are set, so that many regions take little memory."""
    rows, columns = np.flatnonzero(bits.any(1)), np.flatnonzero(bits.any(0))
    if not len(rows):
        return Patch(region.name, np.zeros((0, 0), dtype=bool), layer=region.layer)
    y, x = int(rows[0]), int(columns[0])
    return Patch(region.name, bits[y : rows[-1] + 1, x : columns[-1] + 1].copy(), y, x, region.layer)


def by_rows(counts: list[int], height: int, width: int) -> Bits:
    """The pixels of run lengths that go along the rows, unset ones first: bool ``[height, width]``."""
    _check_sum(tuple(counts), height * width)
    bits: Bits = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return bits


def from_png(text: str, compressed: bool = False) -> Bits:
    """The pixels that are not 0 in a PNG picture in base64 (``compressed`` by zlib too): bool ``[h, w]``."""
    content = base64.b64decode(text)
    with Image.open(io.BytesIO(zlib.decompress(content) if compressed else content)) as file:
        pixels = np.asarray(file)  # a palette's indices
    bits: Bits = pixels != 0 if pixels.ndim == 2 else pixels[..., -1] != 0
    return bits


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> NDArray[np.float64]:
    """The outline of an ellipse that is turned clockwise about its centre: float64 ``[n, 2]``."""
    angles = np.linspace(0, 2 * math.pi, 180, endpoint=False)
    ring = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], 1)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    outline: NDArray[np.float64] = ring @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)
    return outline
