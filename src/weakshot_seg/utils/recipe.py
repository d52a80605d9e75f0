"""The settings that a model was trained with, as its checkpoint carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

VERSION = 2
"""Of the settings in files; to be raised when what a recipe names is moved or dropped, see ``compatibility.upgrade``."""
Group = dict[str, Any]
"""Settings of one part, plain and resolved; ``_target_`` names what they build."""


@dataclass(frozen=True)
class Recipe:
    """What rebuilds a model, and how it was trained. None or empty: not known, as with weights from elsewhere.

    Attributes:
        model: builds the network.
        loss: builds the criterion.
        optim: builds optimiser and schedule.
        data: builds the data module; in a model folder only how images are resized and labelled.
        trainer: options of the training.
        name: of the run.
        split: its number.
        seed: of the training.
        stage: "first" or "retrain".
        supervision: "weakshot", "base_only" or "full".
        candidates: classes that pseudo-labels choose from, see :data:`~weakshot_seg.data.pseudo_labels.Candidates`.
        weights: file that the training started from.
        others: all other settings, such as loggers.
    """

    model: Group = field(default_factory=dict)
    loss: Group = field(default_factory=dict)
    optim: Group = field(default_factory=dict)
    data: Group = field(default_factory=dict)
    trainer: Group = field(default_factory=dict)
    name: str | None = None
    split: int | None = None
    seed: int = 0
    stage: str | None = None
    supervision: str | None = None
    candidates: Literal["all", "image", "novel"] | None = None
    weights: str | None = None
    others: Group = field(default_factory=dict)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Recipe:
        """From plain settings of a training, or what :meth:`to_dict` made.

        Raises:
            ValueError: one of them has another type.
        """
        if not isinstance(settings, Mapping):
            raise ValueError(f"recipe is a {type(settings).__name__}, not a group of settings")
        names = {item.name for item in fields(cls)} - {"others"}
        own = {key: value for key, value in settings.items() if key in names}
        others = {key: value for key, value in settings.items() if key not in names}
        try:
            return TypeAdapter(cls).validate_python(own | {"others": others})
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, ('recipe', *first['loc'])))}: {first['msg']}") from error

    def to_dict(self) -> dict[str, Any]:
        """As plain containers, without what is not known."""
        own = asdict(self)
        others = own.pop("others")
        return {key: value for key, value in own.items() if value not in (None, {})} | others
