"""``model.safetensors`` and ``config.json``: a trained network without its training."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.recipe import Recipe

WEIGHTS, CONFIG = "model.safetensors", "config.json"
FORMAT = 1
NETWORK = "model."
"""What the names of the network's tensors start with; all others serve training alone (SimNet, averages of losses)."""

PUBLIC: dict[str, tuple[str, ...] | None] = {
    "name": None,
    "split": None,
    "stage": None,
    "seed": None,
    "supervision": None,
    "model": None,
    "loss": None,
    "optim": None,
    "weights": None,
    "data": (
        "published",
        "label_scope",
        "supervision",
        "novel_ratio",
        "pairing",
        "batch_size",
        "train_transform",
        "val_transform",
    ),
    "trainer": (
        "max_steps",
        "precision",
        "devices",
        "num_nodes",
        "accumulate_grad_batches",
        "gradient_clip_val",
    ),
}
"""Settings of a training that leave the house, and of which groups only some: not where data and outputs lie, not the
names of the images, nothing about loggers."""


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


def write_folder(folder: Path, saved: SavedModel, version: str) -> None:
    """Writes the network and the public part of its recipe.

    Args:
        folder: made if absent.
        saved: model to write.
        version: of the package, for readers.
    """
    network = {name: tensor.contiguous() for name, tensor in saved.state.items() if name.startswith(NETWORK)}
    config = {
        "weakshot_seg": version,
        "format": FORMAT,
        "class_names": list(saved.class_split.names),
        "novel": list(saved.class_split.novel),
        "step": saved.step,
        "recipe": public_recipe(saved.recipe.to_dict()),
    }
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(network, metadata={"format": "pt"}))  # save_file hides its file from others
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_folder(folder: Path) -> SavedModel:
    """Reads what :func:`write_folder` wrote, on the CPU; nothing in it is executed.

    Raises:
        ConfigError: a file is missing, broken, or of a newer format.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        state = load_file(folder / WEIGHTS)
    except OSError as error:
        raise ConfigError(f"{folder} is no model folder: {error}; weakshot card writes one") from error
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ConfigError(f"{folder} cannot be read ({error}): download or write it again") from error
    try:
        version, step = _whole(config, "format"), _whole(config, "step")
        if version > FORMAT:
            raise ConfigError(f"{folder} was written by weakshot_seg {config['weakshot_seg']}: install a newer version")
        names, novel = config["class_names"], config["novel"]
        if not all(isinstance(name, str) for name in names) or any(type(number) is not int for number in novel):
            raise ValueError("class_names must be a list of names, novel one of their ids")
        return SavedModel(Recipe.from_dict(config["recipe"]), ClassSplit(tuple(names), tuple(novel)), state, step)
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ConfigError(
            f"{folder / CONFIG} was not written by weakshot card, or changed since ({reason}): "
            "download or write it again"
        ) from error


def _whole(config: dict[str, Any], key: str) -> int:
    """A whole number.

    Raises:
        ValueError: it is none.
    """
    value = config[key]
    if type(value) is not int:
        raise ValueError(f"{key} is {value!r}, which is no whole number")
    return value


def public_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """What others need of a recipe; absolute paths in it are cut to the last name."""
    public = {}
    for key, members in PUBLIC.items():
        if key not in recipe:
            continue
        value = recipe[key]
        public[key] = value if members is None else {name: value[name] for name in members if name in value}
    return _without_folders(public)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and (value.startswith("~") or re.match(r"/|[A-Za-z]:[\\/]|\\\\", value)):
        return PureWindowsPath(PurePosixPath(value).name).name
    return value
