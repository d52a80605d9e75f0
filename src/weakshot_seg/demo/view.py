"""What the page keeps and shows of one image: pictures and HTML, without a word about the library that serves them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from weakshot_seg.data.images import UNREADABLE, read_image
from weakshot_seg.errors import DataError
from weakshot_seg.prediction.segmentation import ClassArea, Proposal, Segmentation
from weakshot_seg.prediction.segmenter import Segmenter
from weakshot_seg.reporting.html import figure
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.visualize import overlay, palette, resized

Bytes = NDArray[np.uint8]

LARGEST = 2048
"""Longer edge in pixels to which an image is shrunk before it is predicted; see :func:`open_image`."""
SHOWN = (480, 1024)
"""Longer edge on the page: small images are enlarged by a whole number, large ones shrunk."""
TILE = 320
"""Longer edge of a proposal's picture."""
STAR = "★"


@dataclass(frozen=True, eq=False)
class View:
    """An image and its prediction at the size of the page; small enough to be kept for every visitor.

    Attributes:
        image: uint8 ``[h, w, 3]``.
        labels: uint8 ``[h, w]``, class ids.
        areas: classes in the full label map, the largest first.
        colours: uint8 ``[256, 3]``.
        grid: HTML of the best proposals.
        note: size of the image, and what was done to it.
    """

    image: Bytes
    labels: Bytes
    areas: tuple[ClassArea, ...]
    colours: Bytes
    grid: str
    note: str


def look(segmenter: Segmenter, path: Path, proposals: int, max_megapixels: float) -> View:
    """Predicts an image file for the page.

    Args:
        segmenter: one that sees images as a whole, so that there are proposals.
        path: of the image.
        proposals: how many of them to show.
        max_megapixels: see :func:`open_image`.

    Raises:
        DataError: the image is unreadable or too large.
    """
    image, note = open_image(path, max_megapixels)
    return view_of(segmenter.predict(image), note, proposals)


def open_image(path: Path, max_megapixels: float) -> tuple[Bytes, str]:
    """Reads an image, at most :data:`LARGEST` pixels long: masks of many proposals are made at its size.

    Returns:
        RGB uint8 ``[h, w, 3]``, and its size in words.

    Raises:
        DataError: the file is no image, is broken, or has more than ``max_megapixels``; it is not decoded then.
    """
    most = f"at most {max_megapixels:g} megapixels are taken here: make it smaller"
    unreadable = f"{path.name} cannot be read: it is damaged, or no JPEG, PNG, WebP, TIFF or BMP file; take another"
    try:
        with Image.open(path) as file:  # the header alone: a small file may hold a very large image
            width, height = file.size
    except Image.DecompressionBombError as error:
        raise DataError(f"{path.name} is far too large, {most}") from error
    except UNREADABLE as error:
        raise DataError(unreadable) from error
    if width * height > max_megapixels * 1e6:
        raise DataError(f"{path.name} has {width} x {height} pixels, {width * height / 1e6:.0f} megapixels; {most}")
    try:
        image = read_image(path)
    except DataError as error:
        raise DataError(unreadable) from error
    note = f"{image.shape[1]} x {image.shape[0]} pixels"
    if max(width, height) > LARGEST:
        image = resized(image, 1, LARGEST)
        note += f", shrunk to {image.shape[1]} x {image.shape[0]} before the prediction"
    return image, note


def view_of(segmentation: Segmentation, note: str, proposals: int) -> View:
    """What the page shows of a prediction."""
    colours = palette(segmentation.split.num_classes)
    tiles = [
        figure(Image.fromarray(tile(segmentation.image, best.mask, colours[best.class_id])), caption(best))
        for best in segmentation.proposals(proposals)
    ]
    return View(
        resized(segmentation.image, *SHOWN),
        resized(segmentation.labels, *SHOWN),
        segmentation.classes,
        colours,
        f'<div class="proposals">{"".join(tiles)}</div>',
        note,
    )


def draw(view: View, shown: Collection[int], opacity: float) -> Bytes:
    """The image under the colours of the classes ``shown``: uint8 ``[h, w, 3]``; other regions stay bare.

    Args:
        view: of the image.
        shown: class ids.
        opacity: of the colours, 0 (the image) to 1.
    """
    labels = np.where(np.isin(view.labels, list(shown)), view.labels, IGNORE).astype(np.uint8)
    novel = [area.class_id for area in view.areas if area.novel]
    painted = overlay(view.image, labels, view.colours, alpha=0.75, novel=novel)
    return (view.image + opacity * (painted.astype(np.float32) - view.image)).round().astype(np.uint8)


def tile(image: Bytes, mask: NDArray[np.float32], colour: NDArray[np.uint8]) -> Bytes:
    """A proposal: the image where its mask is above one half, outlined in the colour of its class, and fog elsewhere.

    Args:
        image: uint8 ``[h, w, 3]``.
        mask: float ``[h, w]``, 0..1.
        colour: RGB uint8 ``[3]``.

    Returns:
        uint8 ``[H, W, 3]``, the longer edge :data:`TILE` or a little more.
    """
    small = resized(image, TILE, TILE)
    size = (small.shape[1], small.shape[0])
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)) > 0.5
    core = np.asarray(Image.fromarray(inside.astype(np.uint8)).filter(ImageFilter.MinFilter(5))) > 0
    grey = small @ np.array([0.299, 0.587, 0.114])
    fog = np.repeat((0.2 * grey + 0.8 * 244)[..., None], 3, axis=2)
    clear = 0.8 * small + 0.2 * colour
    picture = np.where(inside[..., None], clear, fog)
    picture[inside & ~core] = colour
    return picture.round().astype(np.uint8)


def caption(proposal: Proposal) -> str:
    """Its class, a star if that is novel, and the probability."""
    return f"{starred(proposal.name, proposal.novel)} {percent(proposal.probability)}"


def starred(name: str, novel: bool) -> str:
    """A class name, with a star if it is novel."""
    return f"{name} {STAR}" if novel else name


def percent(share: float) -> str:
    """A number 0..1 for readers."""
    return "< 1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")


def class_choices(view: View) -> list[tuple[str, int]]:
    """Label and id of every class in the image."""
    return [(starred(area.name, area.novel), area.class_id) for area in view.areas]


def class_table(view: View) -> str:
    """HTML: colour, name, area and confidence of every class in the image."""
    rows = []
    for area in view.areas:
        kind = "swatch novel" if area.novel else "swatch"
        red, green, blue = view.colours[area.class_id].tolist()
        cells = (
            f'<span class="{kind}" style="background-color: rgb({red}, {green}, {blue})"></span>'
            f"{escape(area.name)}{NOVEL_MARK if area.novel else ''}",
            percent(area.share),
            percent(area.confidence),
        )
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "<tr><th>class</th><th>area</th><th>confidence</th></tr>"
    return f'<table class="classes"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


NOVEL_MARK = f' <span class="star" title="novel: learned from tags, without a single mask">{STAR}</span>'


def about(class_names: tuple[str, ...], novel: tuple[str, ...]) -> str:
    """HTML: what the model knows, in one line and a list to open."""
    marked = (f"{escape(name)}{NOVEL_MARK if name in novel else ''}" for name in class_names)
    summary = f"{len(class_names)} classes, {len(novel)} of them novel{NOVEL_MARK}: learned from tags, without masks"
    return f'<details class="about"><summary>{summary}</summary>{", ".join(marked)}</details>'


def message(text: str, alert: bool = False) -> str:
    """HTML: a line about the image, or about what is wrong with it."""
    return (
        f'<p class="message alert" role="alert">{escape(text)}</p>'
        if alert
        else f'<p class="message">{escape(text)}</p>'
    )
