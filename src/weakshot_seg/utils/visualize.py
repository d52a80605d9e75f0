"""Pictures of label maps: palette, overlays, legends and panels image | truth | prediction.

Images are RGB uint8 ``[h, w, 3]``, label maps uint8 ``[h, w]`` with class ids and :data:`IGNORE`. Novel classes stand
out: their regions are hatched and outlined, and their legend entries carry a star.
"""

import math
from collections.abc import Collection, Sequence
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from weakshot_seg.structures import IGNORE, ClassSplit

Bytes = NDArray[np.uint8]

PAPER = (255, 255, 255)
INK = (34, 38, 46)
NOVEL = (255, 0, 128)  # outline and star of novel classes
UNKNOWN = (205, 205, 205)


@cache
def palette() -> Bytes:
    """Distinct colours uint8 ``[256, 3]``, not to be changed: row = class id, row 255 is grey.

    Glasbey's light colours; those close to :data:`NOVEL` or :data:`UNKNOWN` come last.
    """
    from colorcet import glasbey_light  # takes as long as matplotlib, which it imports

    colours = np.array([ImageColor.getrgb(colour) for colour in glasbey_light], np.uint8)
    close = (np.linalg.norm(colours[:, None] - np.array([NOVEL, UNKNOWN]), axis=-1) < 60).any(1)
    colours = np.concatenate([colours[~close], colours[close]])
    colours[IGNORE] = UNKNOWN
    return colours


def label_png(label_map: Bytes) -> Image.Image:
    """Indexed image (mode ``P``): the pixel values are the class ids, shown in the colours of the palette."""
    image = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8), mode="L")
    image.putpalette(palette().tobytes())
    return image


def overlay(image: Bytes, label_map: Bytes, alpha: float = 0.6, novel: Collection[int] = (), line: int = 2) -> Bytes:
    """Label colours, of opacity ``alpha`` 0..1, over the image's brightness; :data:`IGNORE` is left bare.

    The classes ``novel`` (ids) are hatched, with outlines ``line`` pixels wide.
    """
    # only the image's brightness, and not its deepest shadows: else it would tint the colours of the classes
    light = 50 + 0.8 * (image @ np.array([0.299, 0.587, 0.114]))
    painted = (1 - alpha) * light[..., None] + alpha * palette()[label_map]
    mixed = np.where((label_map == IGNORE)[..., None], image, painted)
    marked = np.isin(label_map, list(novel))
    rows, columns = np.ogrid[: label_map.shape[0], : label_map.shape[1]]
    stripes = marked & ((rows + columns) % (5 * line) < line)
    mixed[stripes] = 0.45 * mixed[stripes] + 0.55 * 255
    border = _border(np.where(marked, label_map, IGNORE).astype(np.uint8), line)
    mixed[border & ~marked] = 255  # a white rim keeps the line visible on any ground
    mixed[border & marked] = NOVEL
    return mixed.round().astype(np.uint8)


def _border(label_map: Bytes, width: int) -> NDArray[np.bool_]:
    """Bool ``[h, w]``: pixels at most ``width`` from another label."""
    lowest = highest = np.pad(label_map, width, mode="edge")
    for axis, length in enumerate(label_map.shape):  # NumPy's minimum takes a tenth of the time of Pillow's filters
        places = [np.arange(start, start + length) for start in range(2 * width + 1)]
        lowest = reduce(np.minimum, (lowest.take(place, axis) for place in places))
        highest = reduce(np.maximum, (highest.take(place, axis) for place in places))
    return np.asarray(lowest != highest)


def legend(classes: Sequence[int], split: ClassSplit, width: int, size: int = 15) -> Image.Image:
    """Colour swatches with class names in as many columns as fit; novel classes come last, hatched and starred."""
    font = ImageFont.load_default(size)
    entries = sorted(classes, key=lambda index: (index in split.novel, index))
    texts = [split.names[index] + ("  (novel)" if index in split.novel else "") for index in entries]
    swatch, gap, row = round(1.9 * size), round(0.5 * size), round(1.75 * size)
    column = swatch + 4 * gap + size + max((math.ceil(font.getlength(text)) for text in texts), default=0)
    columns = max(1, min(len(entries), width // column))
    places = [(i % columns * (width // columns), i // columns * row + gap // 2) for i in range(len(entries))]
    labels = np.full((max(1, math.ceil(len(entries) / columns)) * row, width), IGNORE, np.uint8)
    for (x, y), index in zip(places, entries, strict=True):
        labels[y : y + row - gap, x + 2 : x + swatch] = index  # the rim of a novel one takes two pixels
    paper = np.full((*labels.shape, 3), PAPER, np.uint8)
    picture = Image.fromarray(overlay(paper, labels, alpha=1.0, novel=split.novel))
    draw = ImageDraw.Draw(picture)
    for (x, y), index, text in zip(places, entries, texts, strict=True):
        left, middle = x + swatch + gap, y + (row - gap) / 2
        if index in split.novel:
            spokes = [(size * (0.55, 0.23)[i % 2], math.pi * (i / 5 - 0.5)) for i in range(10)]  # of a star
            draw.polygon([(left + size / 2 + r * math.cos(a), middle + r * math.sin(a)) for r, a in spokes], fill=NOVEL)
            left += gap + size
        draw.text((left, middle), text, font=font, fill=INK, anchor="lm")
    return picture


def resized(array: Bytes, smallest: int = 320, largest: int = 640) -> Bytes:
    """Enlarges by a whole number to about ``smallest`` or shrinks to ``largest`` pixels; label maps keep their ids."""
    longest = max(array.shape[:2])
    scale = math.ceil(smallest / longest) if longest < smallest else min(1.0, largest / longest)
    size = (max(1, round(scale * array.shape[1])), max(1, round(scale * array.shape[0])))
    method = Image.Resampling.BICUBIC if array.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, method))


def panel(image: Bytes, truth: Bytes, prediction: Bytes, split: ClassSplit) -> Image.Image:
    """Image | truth | prediction side by side, see :func:`resized`, with a legend of the classes that occur."""
    image, maps = resized(image), {"truth": resized(truth), "prediction": resized(prediction)}
    views = {name: overlay(image, labels, 0.62, split.novel) for name, labels in maps.items()}
    return _compose({"image": image} | views, np.union1d(truth, prediction).tolist(), split)


def labelled_overlay(
    image: Bytes, label_map: Bytes, split: ClassSplit, largest: int = 1024, listed: Collection[int] | None = None
) -> Image.Image:
    """One image under its label colours, its longer edge at most ``largest`` pixels, with a legend below.

    The legend has the classes ``listed`` (ids); None: those in the label map.
    """
    image, label_map = resized(image, 480, largest), resized(label_map, 480, largest)
    scale = max(1.0, max(label_map.shape) / 800)
    view = overlay(image, label_map, novel=split.novel, line=round(2 * scale))
    return _compose({"": view}, np.unique(label_map).tolist() if listed is None else sorted(listed), split, scale)


def _compose(views: dict[str, Bytes], present: Sequence[int], split: ClassSplit, scale: float = 1.0) -> Image.Image:
    """Views under their titles in a row, above a legend."""
    margin, gap, size = round(12 * scale), round(8 * scale), round(15 * scale)
    height, width = next(iter(views.values())).shape[:2]
    top = margin + (26 if any(views) else 0)
    inner = len(views) * (width + gap) - gap
    key = legend([index for index in present if index != IGNORE], split, inner, size)
    picture = Image.new("RGB", (inner + 2 * margin, top + height + gap + key.height + margin), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size + 1)
    for number, (name, view) in enumerate(views.items()):
        x = margin + number * (width + gap)
        draw.text((x, (margin + top) / 2 - 3), name, font=font, fill=INK, anchor="lm")
        picture.paste(Image.fromarray(view), (x, top))
    picture.paste(key, (margin, top + height + gap))
    return picture
