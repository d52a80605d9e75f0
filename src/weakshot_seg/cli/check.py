"""Checks a data set before anything is trained on it: ``weakshot check data=folder data.root=DIR``.

Every image and mask is read once. What they hold and everything that is wrong is printed, and shown on a page with
``html=FILE``. The exit code is 0 if training can work, else 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig
from PIL import Image

from weakshot_seg.config.compose import conf_dir, entry_point
from weakshot_seg.errors import DataError
from weakshot_seg.reporting import html
from weakshot_seg.reporting.dataset_report import Overview, Part, look_over
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import Table, aligned
from weakshot_seg.utils.visualize import overlay, palette

THUMBNAIL = 320
"""Longer edge in pixels."""


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="check")
@entry_point
def main(cfg: DictConfig) -> None:
    """Prints the tables, remarks and problems, and writes the page."""
    if "verify" in cfg.data:
        cfg.data.verify = True
    overview = look_over(instantiate(cfg.data))
    for table in overview.tables:
        print(f"{table.title}\n\n{aligned(table.rows, table.sides)}\n")
    for remark in overview.remarks:
        print(f"note: {remark}")
    for problem in overview.problems:
        print(f"problem: {problem}")
    print(verdict(overview))
    if cfg.html:
        with replacing(cfg.html) as temporary:
            temporary.write_text(page(overview, cfg.thumbnails), encoding="utf-8")
        print(f"page: {Path(cfg.html).absolute()}")
    if overview.problems:
        raise SystemExit(1)


def verdict(overview: Overview) -> str:
    """In one line, whether training can work."""
    count = len(overview.problems)
    return f"{count} problem{'s' if count > 1 else ''}: training cannot start" if count else "training can start"


def page(overview: Overview, thumbnails: int) -> str:
    """Tables, problems and pictures as HTML.

    Args:
        overview: Of the data set.
        thumbnails: Pictures of each part, spread evenly over its images.
    """
    lines = [("problem", text) for text in overview.problems] + [("note", text) for text in overview.remarks]
    findings = Table(verdict(overview), (("", ""), *lines), "<<")
    parts = [html.table(table) for table in (findings, *overview.tables)]
    for part in overview.parts:
        split = overview.split or ClassSplit(part.source.class_names, ())
        colours = palette(split.num_classes)
        key = [(_title(split, i), tuple(colours[i].tolist())) for i in range(split.num_classes)]
        parts.append(html.gallery(f"{part.title} images", key, _figures(part, split, thumbnails)))
    return html.page("Data set", parts)


def _figures(part: Part, split: ClassSplit, most: int) -> Iterator[str]:
    count = len(part.source)
    for index in np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist():
        try:
            image, label_map = part.source.load(index)
        except DataError:  # named among the problems
            continue
        if label_map is None or label_map.shape != image.shape[:2]:
            label_map = np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        height, width = image.shape[:2]
        scale = THUMBNAIL / max(height, width)
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        small = np.asarray(Image.fromarray(image).resize(size))
        labels = np.asarray(Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST))
        picture = overlay(small, labels, palette(split.num_classes), novel=split.novel, line=1)
        tags = ", ".join(_title(split, i) for i in np.flatnonzero(part.by_tag[index]).tolist())
        caption = f"{part.source.name(index)}, {width}x{height}" + (f", tags: {tags}" if tags else "")
        yield html.figure(Image.fromarray(picture), caption)


def _title(split: ClassSplit, class_id: int) -> str:
    return split.names[class_id] + (" (novel)" if class_id in split.novel else "")


if __name__ == "__main__":
    main()
