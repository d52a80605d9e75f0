"""The figures of a check, as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from weakshot_seg.exporting.agreement import Agreement
from weakshot_seg.exporting.speed import Speed
from weakshot_seg.utils.tables import aligned


@dataclass(frozen=True)
class Tolerance:
    """What every batch must keep within.

    Attributes:
        max_difference: Largest difference of two scores.
        min_agreement: Least share of pixels of the same class, 0..1.
    """

    max_difference: float
    min_agreement: float


@dataclass(frozen=True)
class Report:
    """How an exported file agrees with its model.

    Attributes:
        file: Name of the file.
        format: Of the file.
        ckpt: The model.
        step: Optimiser steps of its training.
        compared_on: Where the images are from.
        batches: One result for each.
        tolerance: For all of them.
        versions: Of the libraries, by name.
        speed: None: not measured.
    """

    file: str
    format: str
    ckpt: str
    step: int
    compared_on: str
    batches: Sequence[Agreement]
    tolerance: Tolerance
    versions: dict[str, str]
    speed: Speed | None = None

    @property
    def max_difference(self) -> float:
        """Largest of all batches; NaN if one is."""
        differences = [batch.max_difference for batch in self.batches]
        return math.nan if any(map(math.isnan, differences)) else max(differences)

    @property
    def argmax_agreement(self) -> float:
        """Lowest of all batches."""
        return min(batch.argmax_agreement for batch in self.batches)

    @property
    def passed(self) -> bool:
        """All batches are within the tolerance."""
        near = self.max_difference <= self.tolerance.max_difference  # never true for NaN
        return near and self.argmax_agreement >= self.tolerance.min_agreement

    def as_json(self) -> str:
        """All of it. A difference that is NaN is null."""
        total = {
            "passed": self.passed,
            "max_difference": self.max_difference,
            "argmax_agreement": self.argmax_agreement,
        }
        content = {"file": self.file, **total, **asdict(self)}
        finite = json.loads(json.dumps(content), parse_constant=lambda _: None)
        return json.dumps(finite, indent=2, ensure_ascii=False) + "\n"

    def as_text(self) -> str:
        """A table of the batches, the verdict, and the speed."""
        rows = [("images", "size", "largest difference", "same class")]
        for batch in self.batches:
            size = f"{batch.width}x{batch.height}"
            rows.append(
                (str(batch.images), size, f"{batch.max_difference:.1e}", f"{100 * batch.argmax_agreement:.3f} %")
            )
        lines = [
            f"{self.format} beside the model, on {self.compared_on}:\n",
            aligned(rows, ">>>>"),
            f"\nin all: scores differ by up to {self.max_difference:.1e} "
            f"(max_difference={self.tolerance.max_difference:g}), at least {100 * self.argmax_agreement:.3f} % of the "
            f"pixels have the same class (min_agreement={self.tolerance.min_agreement:g})",
        ]
        if self.speed is not None:
            s = self.speed
            lines.append(
                f"speed on the CPU, {s.threads} threads, {s.images} image of {s.width}x{s.height}: {self.format} "
                f"{1000 * s.file:.1f} ms, PyTorch {1000 * s.model:.1f} ms (medians; ratio {s.ratio:.2f})"
            )
        return "\n".join(lines)
