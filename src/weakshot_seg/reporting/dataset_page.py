"""The page of a data set: its tables, and thumbnails under the colours of their masks."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from weakshot_seg.errors import DataError
from weakshot_seg.reporting.dataset_report import DatasetReport, Part
from weakshot_seg.reporting.figures import Picture, jpeg
from weakshot_seg.reporting.pages import render
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.utils.visualize import overlay, palette

THUMBNAIL = 320
"""Longer edge in pixels."""


def dataset_page(report: DatasetReport, thumbnails: int) -> str:
    """Tables, problems and pictures as HTML; ``thumbnails`` of each part, spread evenly over its images."""
    parts = []
    for part in report.parts:
        split = report.split or ClassSplit(part.source.class_names, ())
        titles = [name + (" (novel)" if i in split.novel else "") for i, name in enumerate(split.names)]
        colours = (f"rgb{tuple(colour)}" for colour in palette().tolist())
        key = list(zip(titles, colours, strict=False))
        parts.append((part.title, key, _thumbnails(part, split, titles, thumbnails)))
    return render("dataset.html", report=report, parts=parts)


def _thumbnails(part: Part, split: ClassSplit, titles: list[str], most: int) -> Iterator[Picture]:
    count = len(part.source)
    for index in np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist():
        try:
            image, label_map = part.source.load(index)
        except DataError:  # named among the problems
            continue
        height, width = image.shape[:2]
        if label_map is None or label_map.shape != (height, width):
            label_map = np.full((height, width), IGNORE, dtype=np.uint8)
        size = tuple(max(1, round(THUMBNAIL * length / max(height, width))) for length in (width, height))
        small = np.asarray(Image.fromarray(image).resize(size))
        labels = np.asarray(Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST))
        picture = overlay(small, labels, novel=split.novel, line=1)
        tags = ", ".join(titles[i] for i in np.flatnonzero(part.by_tag[index]).tolist())
        caption = f"{part.source.name(index)}, {width}x{height}"
        yield jpeg(Image.fromarray(picture), f"{caption}, tags: {tags}" if tags else caption)
