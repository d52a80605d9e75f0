"""Building a module from a recipe, and loading one from a checkpoint."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from weakshot_seg.errors import BrokenCheckpointError, ConfigError
from weakshot_seg.lightning_module import WeakShotModule
from weakshot_seg.structures import ClassSplit

log = logging.getLogger(__name__)


def build_module(recipe: dict[str, Any], class_split: ClassSplit) -> WeakShotModule:
    """Makes network, criterion and optimiser from the plain configuration of a run (keys model, loss, optim, ...)."""
    model = instantiate(recipe["model"], num_classes=class_split.num_classes)
    criterion, optimizer = instantiate(recipe["loss"]), instantiate(recipe["optim"])
    return WeakShotModule(model, criterion, optimizer, class_split, recipe, recipe["seed"])


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours as plain containers and tensors, on the CPU; nothing in the file is executed.

    Raises:
        ConfigError: the file is missing or not one of ours.
        BrokenCheckpointError: it is truncated, or no checkpoint at all.
    """
    if not path.is_file():
        raise ConfigError(f"ckpt={path}: no such file; training writes outputs/<name>/split<n>/checkpoints/last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail anywhere in the readers of zip archives and pickles
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BrokenCheckpointError(
            f"ckpt={path} cannot be read, it may be truncated or no checkpoint: {reason}"
        ) from error
    if not isinstance(checkpoint, dict) or "weakshot_seg" not in checkpoint:
        raise ConfigError(f"ckpt={path} was not written by weakshot_seg.train")
    return checkpoint


def load_weights(module: WeakShotModule, path: Path) -> dict[str, Any]:
    """Puts the weights of a checkpoint into ``module``; returns the checkpoint.

    Raises:
        ConfigError: see :func:`read_checkpoint`, or the weights have other names or shapes.
    """
    checkpoint = read_checkpoint(path)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(
            f"ckpt={path} does not fit this model: {reason}; use the settings it was trained with"
        ) from error
    return checkpoint


def load_last(module: WeakShotModule, directory: Path) -> Path | None:
    """Puts the weights to resume from into ``module``: of ``last.ckpt``, or ``previous.ckpt`` if that is broken.

    Returns:
        Which file it was; None if there is neither.

    Raises:
        ConfigError: see :func:`load_weights`, of the last file there is.
    """
    paths = [path for name in ("last.ckpt", "previous.ckpt") if (path := directory / name).is_file()]
    for path in paths:
        try:
            load_weights(module, path)
            return path
        except BrokenCheckpointError as error:
            if path == paths[-1]:
                raise
            log.warning("%s; going on from %s", error, paths[-1])
    return None


def start_from(module: WeakShotModule, path: str | Path) -> None:
    """Initial weights for a training: the network of a checkpoint, and its SimNet where both have one of the same size.

    Raises:
        ConfigError: see :func:`read_checkpoint`, or the network has other names or shapes.
    """
    path = Path(path).expanduser()
    state, mine = read_checkpoint(path)["state_dict"], module.state_dict()
    network = {name for name in {*state, *mine} if name.startswith("model.")}
    wrong = [name for name in network if name not in state or name not in mine or state[name].shape != mine[name].shape]
    if wrong:
        raise ConfigError(
            f"weights={path} does not fit this model: {len(wrong)} of {len(network)} tensors differ in name or shape "
            f"({min(wrong)}, ...); use the model settings and the classes it was made with"
        )
    extra = {name for name in state.keys() & mine.keys() if state[name].shape == mine[name].shape and "simnet" in name}
    module.load_state_dict({name: state[name] for name in network | extra}, strict=False)


def load_module(path: str | Path) -> WeakShotModule:
    """Rebuilds the module of a checkpoint, on the CPU and in evaluation mode.

    Args:
        path: a ``.ckpt`` written by ``weakshot_seg.train`` or ``weakshot_seg.convert``.

    Raises:
        ConfigError: see :func:`read_checkpoint`.
    """
    path = Path(path).expanduser()
    ours = read_checkpoint(path)["weakshot_seg"]
    recipe = ours["recipe"]
    recipe["model"]["backbone"].update(pretrained=False, checkpoint=None)  # the weights come from the checkpoint
    if "compile" in recipe["model"]:
        recipe["model"]["compile"] = None  # a few images are predicted before they would be compiled for
    module = build_module(recipe, ClassSplit(tuple(ours["class_names"]), tuple(ours["novel"])))
    module.trained_steps = load_weights(module, path)["global_step"]
    return module.eval()
