"""A finished training: its numbers, its pictures, its model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from weakshot_seg.errors import DataError
from weakshot_seg.prediction.segmenter import Segmenter, load
from weakshot_seg.reporting.results import Result
from weakshot_seg.utils.notebook import html_image, html_table
from weakshot_seg.utils.tables import number_text


@dataclass(frozen=True)
class Run:
    """What a training left in its ``folder`` (checkpoints, pictures, metrics.json, ...); a notebook shows it."""

    folder: Path

    @cached_property
    def metrics(self) -> Result | None:
        """IoU and accuracy of all classes, in percent; None if nothing was measured."""
        file = self.folder / "metrics.json"
        return Result.read(file) if file.is_file() else None

    @cached_property
    def segmenter(self) -> Segmenter:
        """The trained model, ready for images."""
        return load(self.folder / "checkpoints" / "last.ckpt")

    def show(self, most: int = 4) -> Image.Image:
        """Photo, truth and prediction of the first validation images, one below the other; a DataError without any."""
        files = sorted((self.folder / "pictures").glob("*.png"))[:most]
        if not files:
            raise DataError(f"{self.folder} has no pictures: there were no validation images; use segmenter.predict()")
        panels = [Image.open(file).convert("RGB") for file in files]
        whole = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), "white")
        for panel, top in zip(panels, np.cumsum([0, *(p.height for p in panels)]).tolist(), strict=False):
            whole.paste(panel, (0, top))
        return whole

    def _repr_html_(self) -> str:
        parts = []
        if m := self.metrics:
            rows = [(c.name, "novel" if c.novel else "base", c.iou, c.accuracy) for c in m.classes]
            rows += [("mean", "base", m.base_iou, m.base_accuracy), ("mean", "novel", m.novel_iou, m.novel_accuracy)]
            cells = [(name, kind, number_text(iou), number_text(accuracy)) for name, kind, iou, accuracy in rows]
            parts.append(html_table([("class", "kind", "IoU %", "accuracy %"), *cells], "<<>>"))
        if any((self.folder / "pictures").glob("*.png")):
            parts.append(html_image(self.show()))
        return "".join(parts)
