"""The settings that a model was trained with, as its checkpoint carries them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

VERSION = 2  # of the settings in files; to be raised when what a recipe names moves, see compatibility.upgrade
Group = dict[str, Any]
"""Settings of one part, plain and resolved; ``_target_`` names what they build."""


class Recipe(BaseModel, extra="allow", frozen=True):
    """What rebuilds a model, and how it was trained. None or empty: not known, as with weights from elsewhere.

    All other settings of the training, such as loggers, are kept too.
    """

    model: Group = {}
    loss: Group = {}
    optim: Group = {}
    teacher: Group = {}
    data: Group = {}  # of the data module; in a model folder only how images are resized and labelled
    trainer: Group = {}
    inference: Group = {"_target_": "weakshot_seg.inference.semantic.WholeImage"}  # of validations
    name: str | None = None  # of the run
    split: int | None = None
    seed: int = 0
    stage: str | None = None  # "first" or "retrain"
    supervision: str | None = None  # "weakshot", "base_only" or "full"
    candidates: Literal["all", "image", "novel"] | None = None  # that pseudo-labels choose from
    weights: str | None = None  # file that the training started from

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Recipe:
        """From plain settings of a training, or what :meth:`to_dict` made; a ValueError if one has another type."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, ('recipe', *first['loc'])))}: {first['msg']}") from error

    def to_dict(self) -> dict[str, Any]:
        """As plain containers, without what is not known."""
        return {key: value for key, value in self.model_dump().items() if value not in (None, {})}
