"""What the callbacks ask of a LightningModule."""

from __future__ import annotations

from typing import Protocol

from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.metrics import SegmentationReport
from weakshot_seg.utils.recipe import Recipe


class EvaluatedModule(Protocol):
    """A module that is measured in ``validation_step``.

    Attributes:
        class_split: Class names and which of them are novel.
        report: The latest result, made in ``on_validation_epoch_end``; None before the first.
        report_step: Optimiser steps done when it was measured.
        skipped_steps: Steps left out, as far as is known, because the loss or gradients were not finite.
        recipe: Settings of the run.
    """

    class_split: ClassSplit
    report: SegmentationReport | None
    report_step: int
    skipped_steps: int
    recipe: Recipe
