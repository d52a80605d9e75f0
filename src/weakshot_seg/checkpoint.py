"""Building a module from a recipe, and loading one from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from weakshot_seg.errors import ConfigError
from weakshot_seg.lightning_module import WeakShotModule
from weakshot_seg.structures import ClassSplit


def build_module(recipe: dict[str, Any], class_split: ClassSplit) -> WeakShotModule:
    """Makes network, criterion and optimiser from the plain configuration of a run (keys model, loss, optim, ...)."""
    model = instantiate(recipe["model"], num_classes=class_split.num_classes)
    criterion, optimizer = instantiate(recipe["loss"]), instantiate(recipe["optim"])
    return WeakShotModule(model, criterion, optimizer, class_split, recipe, recipe["seed"])


def load_module(path: str | Path) -> WeakShotModule:
    """Rebuilds the module of a checkpoint, on the CPU and in evaluation mode.

    Args:
        path: a ``.ckpt`` written by ``weakshot_seg.train``.

    Raises:
        ConfigError: the file is missing, truncated, or not one of ours.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"ckpt={path}: no such file; training writes outputs/<name>/split<split>/checkpoints/last.ckpt"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail anywhere in the readers of zip archives and pickles
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"ckpt={path} cannot be read, it may be truncated or no checkpoint: {reason}") from error
    if not isinstance(checkpoint, dict) or "weakshot_seg" not in checkpoint:
        raise ConfigError(f"ckpt={path} was not written by weakshot_seg.train")
    ours = checkpoint["weakshot_seg"]
    recipe = ours["recipe"]
    recipe["model"]["backbone"].update(pretrained=False, checkpoint=None)  # the weights come from the checkpoint
    module = build_module(recipe, ClassSplit(tuple(ours["class_names"]), tuple(ours["novel"])))
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise ConfigError(f"ckpt={path} does not fit its own recipe: {str(error).splitlines()[1].strip()}") from error
    module.trained_steps = checkpoint["global_step"]
    return module.eval()
