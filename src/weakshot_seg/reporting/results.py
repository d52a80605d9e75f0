"""Reading ``metrics.json`` of a training or an evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from annotated_types import Ge, Le, MinLen
from pydantic import TypeAdapter, ValidationError

Percent = Annotated[float, Ge(0), Le(101)] | None  # rounding may exceed 100
"""None without ground truth."""


@dataclass(frozen=True)
class ClassScore:
    """IoU and accuracy of a class; ``novel`` as the run saw it."""

    name: str
    novel: bool
    iou: Percent
    accuracy: Percent = None


@dataclass(frozen=True)
class Result:
    """What was measured after ``step`` steps, see :class:`~weakshot_seg.training.metrics.SegmentationReport`.

    From ``base_accuracy`` on, all may be missing: numbers that a report does not need, and which run it was.
    """

    step: int
    seconds: float
    classes: Annotated[tuple[ClassScore, ...], MinLen(1)]
    base_iou: Percent
    novel_iou: Percent
    miou: Percent
    base_accuracy: Percent = None
    novel_accuracy: Percent = None
    mean_accuracy: Percent = None
    pixel_accuracy: Percent = None
    frequency_weighted_iou: Percent = None
    name: str | None = None
    split: int | None = None
    seed: int | None = None
    stage: str | None = None
    supervision: str | None = None

    @property
    def novel(self) -> frozenset[str]:
        """Names of the novel classes."""
        return frozenset(c.name for c in self.classes if c.novel)

    @property
    def class_names(self) -> tuple[str, ...]:
        """All names, by id."""
        return tuple(c.name for c in self.classes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a ``metrics.json``; an OSError if that is impossible, a ValueError if it is damaged or another's."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")) from error
