"""Pictures of label maps: palette, overlays, legends and panels image | truth | prediction, with PIL and NumPy only.

Images are RGB uint8 ``[h, w, 3]``, label maps uint8 ``[h, w]`` with class ids and :data:`IGNORE`. Novel classes strike
the eye: their regions are hatched and outlined, and their legend entries carry a star.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from weakshot_seg.structures import IGNORE

Bytes = NDArray[np.uint8]

PAPER = (255, 255, 255)
INK = (34, 38, 46)
FAINT = (128, 134, 145)
NOVEL = (255, 0, 128)  # outline and star of novel classes, kept out of the palette
UNKNOWN = (205, 205, 205)


def palette(num_classes: int) -> Bytes:
    """Distinct colours uint8 ``[256, 3]``: row = class id, row 255 and unused rows are grey.

    Each is as far as can be from those before it, from :data:`NOVEL` and from :data:`UNKNOWN`. The colour of a class
    does not depend on the number of classes.
    """
    colours = np.full((256, 3), UNKNOWN, dtype=np.uint8)
    colours[:num_classes] = _distinct_colours()[:num_classes]
    return colours


@cache
def _distinct_colours() -> Bytes:
    """Uint8 ``[254, 3]``: farthest-point sampling of bright and lively colours in OKLab."""
    levels = np.linspace(0, 255, 24).round()
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = _oklab(colours)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    lively = (lab[:, 0] > 0.42) & (lab[:, 0] < 0.88) & (chroma > 0.1) & (chroma < 0.21)
    colours, lab = colours[lively], lab[lively]
    # over an image lightness is the image's as much as the class's
    weighted = lab * (0.5, 1, 1)
    marks = _oklab(np.array([NOVEL, UNKNOWN])) * (0.5, 1, 1)
    to_novel, to_unknown = np.linalg.norm(weighted - marks[:, None], axis=-1)
    far = to_novel > 0.12
    colours, weighted, nearest = colours[far], weighted[far], np.minimum(to_novel, to_unknown)[far]
    chosen = []
    for _ in range(IGNORE - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(weighted - weighted[chosen[-1]], axis=1))
    return colours[chosen].astype(np.uint8)


def _oklab(colours: NDArray[np.generic]) -> NDArray[np.float64]:
    """From sRGB 0..255 ``[n, 3]`` to OKLab, where distances are those the eye sees (B. Ottosson, 2020)."""
    part = np.asarray(colours, dtype=np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    cones = np.cbrt(
        linear
        @ [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return cones @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def label_png(label_map: Bytes, colours: Bytes) -> Image.Image:
    """Indexed image (mode ``P``): the pixel values are the class ids, shown in the colours of the palette."""
    image = Image.fromarray(np.ascontiguousarray(label_map, dtype=np.uint8), mode="L")
    image.putpalette(colours.tobytes())
    return image


def overlay(
    image: Bytes, label_map: Bytes, colours: Bytes, alpha: float = 0.6, novel: Collection[int] = (), line: int = 2
) -> Bytes:
    """Label colours over the image's brightness, :data:`IGNORE` left bare; novel regions hatched and outlined.

    Args:
        image: uint8 ``[h, w, 3]``.
        label_map: uint8 ``[h, w]``.
        colours: uint8 ``[256, 3]``, see :func:`palette`.
        alpha: Opacity of the colours, 0..1.
        novel: Class ids to mark.
        line: Width of outlines in pixels.

    Raises:
        ValueError: image and label map differ in size.
    """
    if image.shape[:2] != label_map.shape:
        raise ValueError(f"the image is {image.shape[:2]}, but its label map {label_map.shape}")
    # only the image's brightness, and not its deepest shadows: else it would tint the colours of the classes
    light = 50 + 0.8 * (image @ np.array([0.299, 0.587, 0.114]))
    painted = (1 - alpha) * light[..., None] + alpha * colours[label_map]
    mixed = np.where((label_map == IGNORE)[..., None], image, painted)
    marked = np.isin(label_map, list(novel))
    stripes = marked & _stripes(label_map.shape, 5 * line, line)
    mixed = np.where(stripes[..., None], 0.45 * mixed + 0.55 * 255, mixed)
    outside, inside = _outline(label_map, marked, line)
    mixed[outside] = 255  # a white rim keeps the line visible on any ground
    mixed[inside] = NOVEL
    return mixed.round().astype(np.uint8)


def legend(
    classes: Sequence[int],
    class_names: Sequence[str],
    colours: Bytes,
    novel: Collection[int],
    width: int,
    size: int = 15,
) -> Image.Image:
    """Colour swatches with class names in as many columns as fit; novel classes come last, hatched and starred.

    Args:
        classes: Ids to list.
        class_names: ``K`` names.
        colours: uint8 ``[256, 3]``.
        novel: Novel class ids.
        width: Width of the picture.
        size: Height of the letters.
    """
    font = _font(size)
    entries = sorted(classes, key=lambda index: (index in set(novel), index))
    texts = [class_names[index] + ("  (novel)" if index in set(novel) else "") for index in entries]
    swatch, gap, row = round(1.9 * size), round(0.5 * size), round(1.75 * size)
    column = swatch + 4 * gap + size + max((math.ceil(font.getlength(text)) for text in texts), default=0)
    columns = max(1, min(len(entries) or 1, width // column))
    picture = Image.new("RGB", (width, max(1, math.ceil(len(entries) / columns)) * row), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (index, text) in enumerate(zip(entries, texts, strict=True)):
        x, y = number % columns * (width // columns), number // columns * row
        patch = np.full((round(1.25 * size), swatch), index, dtype=np.uint8)
        block = overlay(np.zeros((*patch.shape, 3), np.uint8), patch, colours, alpha=1.0, novel=novel, line=2)
        top = y + (row - len(block)) // 2
        picture.paste(Image.fromarray(block), (x, top))
        middle = y + row / 2
        if index in set(novel):
            draw.rectangle((x, top, x + swatch - 1, top + len(block) - 1), outline=NOVEL, width=2)
            draw.polygon(_star(x + swatch + gap + size / 2, middle, 0.55 * size), fill=NOVEL)
        indent = gap + size if index in set(novel) else 0
        draw.text((x + swatch + gap + indent, middle), text, font=font, fill=INK, anchor="lm")
    return picture


def panel(
    image: Bytes,
    truth: Bytes,
    prediction: Bytes,
    class_names: Sequence[str],
    novel: Collection[int],
    alpha: float = 0.62,
) -> Image.Image:
    """Image | truth | prediction side by side with titles and a legend of the classes that occur.

    Small images are enlarged by a whole number, large ones shrunk to 640 pixels.

    Args:
        image: uint8 ``[h, w, 3]``.
        truth: uint8 ``[h, w]``.
        prediction: uint8 ``[h, w]``.
        class_names: ``K`` names.
        novel: Ids of the novel classes.
        alpha: Opacity of the label colours.
    """
    colours = palette(len(class_names))
    image, truth, prediction = (resized(part) for part in (image, truth, prediction))
    maps = (overlay(image, labels, colours, alpha, novel, line=2) for labels in (truth, prediction))
    views = [("image", image), *zip(("truth", "prediction"), maps, strict=True)]
    present = np.union1d(np.unique(truth), np.unique(prediction))
    return _compose(views, [int(index) for index in present if index != IGNORE], class_names, colours, novel)


def labelled_overlay(
    image: Bytes,
    label_map: Bytes,
    class_names: Sequence[str],
    novel: Collection[int],
    alpha: float = 0.6,
    largest: int = 1024,
    listed: Collection[int] | None = None,
) -> Image.Image:
    """One image under its label colours with a legend below.

    Args:
        image: uint8 ``[h, w, 3]``.
        label_map: uint8 ``[h, w]``.
        class_names: ``K`` names.
        novel: Ids of the novel classes.
        alpha: Opacity of the label colours.
        largest: Longer edge in pixels to which large images are shrunk. Lines and letters grow with it.
        listed: Ids in the legend; None: those in the label map.
    """
    colours = palette(len(class_names))
    image, label_map = resized(image, 480, largest), resized(label_map, 480, largest)
    scale = max(1.0, max(label_map.shape) / 800)
    views = [("", overlay(image, label_map, colours, alpha, novel, line=round(2 * scale)))]
    present = np.unique(label_map).tolist() if listed is None else sorted(listed)
    return _compose(views, [i for i in present if i != IGNORE], class_names, colours, novel, scale)


def _compose(
    views: Sequence[tuple[str, Bytes]],
    present: Sequence[int],
    class_names: Sequence[str],
    colours: Bytes,
    novel: Collection[int],
    scale: float = 1.0,
) -> Image.Image:
    """Titled views in a row above a legend."""
    margin, gap, size = round(12 * scale), round(8 * scale), round(15 * scale)
    height, width = views[0][1].shape[:2]
    title = 26 if any(name for name, _ in views) else 0
    inner = len(views) * width + (len(views) - 1) * gap
    key = legend(present, class_names, colours, novel, inner, size)
    total = (inner + 2 * margin, margin + title + height + gap + key.height + margin)
    picture = Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (name, view) in enumerate(views):
        x = margin + number * (width + gap)
        draw.text((x, margin + title / 2 - 3), name, font=_font(size + 1), fill=INK, anchor="lm")
        picture.paste(Image.fromarray(view), (x, margin + title))
    picture.paste(key, (margin, margin + title + height + gap))
    return picture


def resized(array: Bytes, smallest: int = 320, largest: int = 640) -> Bytes:
    """Enlarges by a whole number to about ``smallest`` or shrinks to ``largest`` pixels; label maps keep their ids."""
    longest = max(array.shape[:2])
    scale = math.ceil(smallest / longest) if longest < smallest else min(1.0, largest / longest)
    size = (max(1, round(scale * array.shape[1])), max(1, round(scale * array.shape[0])))
    method = Image.Resampling.BICUBIC if array.ndim == 3 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(array)).resize(size, method))


def _stripes(shape: tuple[int, ...], period: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) % period < width


def _outline(label_map: Bytes, marked: NDArray[np.bool_], line: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Bool ``[h, w]`` twice: the rim just outside marked regions, and the line just inside them."""
    edge = np.zeros_like(marked)
    for axis in (0, 1):
        before, after = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        differs = label_map[before] != label_map[after]
        edge[before] |= differs
        edge[after] |= differs
    near = edge
    for _ in range(line - 1):
        near = _grow(near)
    return near & ~marked & _grow(_grow(marked)), near & marked


def _grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and its four neighbours."""
    padded = np.pad(mask, 1)
    return mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = [math.pi * (point / 5 - 0.5) for point in range(10)]
    radii = [radius, 0.42 * radius] * 5
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
