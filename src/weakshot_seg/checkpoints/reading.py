"""Reading a trained model: from a checkpoint, a model folder, or the Hugging Face hub. Nothing in it is executed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from weakshot_seg.checkpoints.compatibility import upgrade
from weakshot_seg.checkpoints.hub import CONFIG, WEIGHTS, download, is_hub_id
from weakshot_seg.errors import BrokenCheckpointError, ConfigError, UserError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import check_zip, reading
from weakshot_seg.utils.recipe import Recipe

NETWORK = "model."
"""What the names of the network's tensors start with; all others serve training alone (SimNet, averages of losses)."""


@dataclass(frozen=True)
class SavedModel:
    """A trained model as a file holds it, on the CPU."""

    recipe: Recipe
    class_split: ClassSplit
    state: dict[str, Tensor]  # by name; those of the network start with ``model.``
    step: int  # of the optimiser


def read_model(source: str | Path) -> SavedModel:
    """A trained model: of a ``.ckpt``, a folder of ``weakshot card``, or one at the hub, ``USER/NAME[@REVISION]``.

    A UserError if it is missing or broken, or of a newer version, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if not path.exists() and is_hub_id(str(source)):
        path = download(str(source))
    return _read_folder(path) if path.is_dir() else read_checkpoint(path)


def read_checkpoint(path: Path) -> SavedModel:
    """A checkpoint; a ConfigError if it is missing, not ours or newer, a BrokenCheckpointError if it is truncated."""
    if not path.is_file():
        raise ConfigError(f"ckpt={path}: no such file; training writes outputs/<name>/split<n>/checkpoints/last.ckpt")
    try:
        check_zip(path)
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail anywhere in the readers of zip archives and pickles
        reason = (
            f"it may be truncated, damaged or no checkpoint: {(str(error) or type(error).__name__).splitlines()[0]}"
        )
        raise BrokenCheckpointError(f"ckpt={path} cannot be read, {reason}") from error
    if not isinstance(checkpoint, dict) or "weakshot_seg" not in checkpoint:
        raise ConfigError(f"ckpt={path} was not written by weakshot_seg.train")
    content, state = checkpoint["weakshot_seg"], checkpoint.get("state_dict")
    return _saved(content, "version", state, checkpoint.get("global_step"), path)


def _read_folder(folder: Path) -> SavedModel:
    with reading(folder, "download it again, or write it with weakshot card"):
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        state = load_file(folder / WEIGHTS)
    if not isinstance(config, dict) or "recipe" not in config:
        raise ConfigError(f"{folder / CONFIG} was not written by weakshot card: it has no recipe")
    return _saved(config, "format", state, config.get("step"), folder)


def _saved(content: Any, version: str, state: Any, step: Any, source: Path) -> SavedModel:
    """Checks plain containers: ``content`` has ``recipe``, ``class_names``, ``novel`` and the key ``version``."""
    try:
        names, novel = content["class_names"], content["novel"]
        if not all(isinstance(name, str) for name in names) or any(type(number) is not int for number in novel):
            raise ValueError("class_names must be a list of names, novel one of their ids")
        if type(step) is not int or not isinstance(state, dict):
            raise ValueError(f"the step is {step!r}, which is no whole number, or there are no weights")
        recipe = Recipe.from_dict(upgrade(content["recipe"], content.get(version, 1)))
        return SavedModel(recipe, ClassSplit(tuple(names), tuple(novel)), state, step)
    except ConfigError as error:
        raise ConfigError(f"ckpt={source}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise unusable(source, error) from error


def unusable(source: str | Path, error: Exception) -> ConfigError:
    """The error for a file whose settings are wrong."""
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    reason = " ".join(f"{kind}{error}".split())
    return ConfigError(f"ckpt={source} has a recipe that cannot be used ({reason}); write it again, or train again")
