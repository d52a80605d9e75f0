"""A trained model as a checkpoint or a model folder holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from weakshot_seg.checkpoints.compatibility import upgrade
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import Recipe

NETWORK = "model."
"""What the names of the network's tensors start with; all others serve training alone (SimNet, averages of losses)."""


@dataclass(frozen=True)
class SavedModel:
    """A trained model as a file holds it.

    Attributes:
        recipe: settings it is built from.
        class_split: class names, and which are novel.
        state: tensors by name; those of the network start with ``model.``.
        step: optimiser steps it was trained for.
    """

    recipe: Recipe
    class_split: ClassSplit
    state: dict[str, Tensor]
    step: int

    @classmethod
    def of(cls, content: Any, version: str, state: Any, step: Any, source: str | Path) -> SavedModel:
        """From plain containers: ``content`` has ``recipe``, ``class_names``, ``novel`` and the key of its version.

        Raises:
            ConfigError: something is missing, of another type, or of a newer version.
        """
        try:
            names, novel = content["class_names"], content["novel"]
            if not all(isinstance(name, str) for name in names) or any(type(number) is not int for number in novel):
                raise ValueError("class_names must be a list of names, novel one of their ids")
            if type(step) is not int or not isinstance(state, dict):
                raise ValueError(f"the step is {step!r}, which is no whole number, or there are no weights")
            recipe = Recipe.from_dict(upgrade(content["recipe"], content.get(version, 1)))
            return cls(recipe, ClassSplit(tuple(names), tuple(novel)), state, step)
        except ConfigError as error:
            raise ConfigError(f"ckpt={source}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise unusable(source, error) from error


def unusable(source: str | Path, error: Exception) -> ConfigError:
    """The error for a file whose settings are wrong."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ConfigError(f"ckpt={source} has a recipe that cannot be used ({reason}); write it again, or train again")
