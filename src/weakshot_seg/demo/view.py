"""What the page keeps and shows of one image: pictures and HTML, independent of the library that serves them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.data.images import read_image
from weakshot_seg.errors import DataError
from weakshot_seg.inference.semantic import ProposalScores
from weakshot_seg.prediction.segmentation import ClassArea, Segmentation
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.visualize import overlay, palette, resized

Bytes = NDArray[np.uint8]

# Longer edges in pixels: to which an image is shrunk before it is predicted, on the page (small images are enlarged by
# a whole number, large ones shrunk), and of a proposal's picture
LARGEST, SHOWN, TILE = 2048, (480, 1024), 320


@dataclass(frozen=True, eq=False)
class View:
    """An image and its prediction at the size of the page; small enough to be kept for every visitor."""

    image: Bytes  # [h, w, 3]
    labels: Bytes  # [h, w], class ids
    areas: tuple[ClassArea, ...]  # in the full label map, the largest first
    proposals: list[tuple[Bytes, str]]  # pictures [h, w, 3] of the best, with captions

    @classmethod
    def of(cls, segmentation: Segmentation, proposals: int) -> View:
        """What is kept of a prediction; ``proposals``: how many of the best to show, of one pass over the image."""
        image, labels = segmentation.image, segmentation.labels
        found = segmentation.proposals(proposals) if isinstance(segmentation.raw_scores, ProposalScores) else []
        tiles = [  # long captions are cut off at the end
            (tile(image, best.mask), f"{percent(best.probability)} {starred(best.name, best.novel)}") for best in found
        ]
        return cls(resized(image, *SHOWN), resized(labels, *SHOWN), segmentation.classes, tiles)

    def choices(self) -> list[tuple[str, int]]:
        """Label and id of every class in the image."""
        return [(starred(area.name, area.novel), area.class_id) for area in self.areas]

    def table(self) -> str:
        """HTML: colour, name, area and confidence of every class in the image."""
        template = Environment(loader=PackageLoader("weakshot_seg.demo"), autoescape=True).get_template("classes.html")
        return template.render(areas=self.areas, colours=palette().tolist(), percent=percent)

    def draw(self, shown: Collection[int], opacity: float) -> Bytes:
        """The image under the colours, of ``opacity`` 0..1, of the classes ``shown`` (ids): uint8 ``[h, w, 3]``."""
        labels = np.where(np.isin(self.labels, list(shown)), self.labels, IGNORE).astype(np.uint8)
        novel = [area.class_id for area in self.areas if area.novel]
        painted = overlay(self.image, labels, alpha=0.75, novel=novel)
        return (self.image + opacity * (painted.astype(np.float32) - self.image)).round().astype(np.uint8)


def open_image(path: Path, max_megapixels: float) -> tuple[Bytes, str]:
    """Reads an image as RGB uint8 ``[h, w, 3]``, at most :data:`LARGEST` pixels long, and gives its size in words.

    A DataError if the file is no image, is broken, or has more than ``max_megapixels``; it is not decoded then.
    """
    try:
        with Image.open(path) as file:  # the header alone: a small file may hold a very large image
            if file.width * file.height > max_megapixels * 1e6:
                raise Image.DecompressionBombError
        image = read_image(path)
    except Image.DecompressionBombError as error:
        limit = f"at most {max_megapixels:g} megapixels are taken here"
        raise DataError(f"{path.name} is too large, {limit}: shrink it") from error
    except Exception as error:
        raise DataError(
            f"{path.name} cannot be read: it is damaged, or no JPEG, PNG, WebP, TIFF or BMP file; take another"
        ) from error
    note = f"{image.shape[1]} x {image.shape[0]} pixels"
    if max(image.shape) > LARGEST:
        image = resized(image, 1, LARGEST)
        note += f", shrunk to {image.shape[1]} x {image.shape[0]} before the prediction"
    return image, note


def tile(image: Bytes, mask: NDArray[np.float32]) -> Bytes:
    """A proposal: the image where its mask ``[h, w]`` is above one half, faded elsewhere, :data:`TILE` pixels long."""
    small = resized(image, TILE, TILE)
    size = (small.shape[1], small.shape[0])
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)) > 0.5
    return np.where(inside[..., None], small, 0.15 * small + 0.85 * 255).round().astype(np.uint8)


def starred(name: str, novel: bool) -> str:
    """A class name, with a star if it is novel."""
    return f"{name} ★" if novel else name


def percent(share: float) -> str:
    """A number 0..1 for readers."""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def message(text: str, alert: bool = False) -> str:
    """HTML: a line about the image, or about what is wrong with it."""
    kind = 'class="message alert" role="alert"' if alert else 'class="message"'
    return f"<p {kind}>{escape(text)}</p>"
