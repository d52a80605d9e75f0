"""Reading a trained model: from a checkpoint, a model folder, or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weakshot_seg.checkpoints.hub import download, is_hub_id
from weakshot_seg.checkpoints.model_folder import read_folder
from weakshot_seg.checkpoints.saved_model import SavedModel
from weakshot_seg.errors import BrokenCheckpointError, ConfigError


def read_model(source: str | Path) -> SavedModel:
    """A trained model, on the CPU; nothing in its files is executed.

    Args:
        source: a ``.ckpt`` of ``weakshot_seg.train`` or ``weakshot convert``, a folder of ``weakshot card``, or
            the name of such a folder at the Hugging Face hub: ``USER/NAME`` or ``USER/NAME@REVISION``.

    Raises:
        ConfigError: it is missing or broken, or of a newer version, or the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if not path.exists() and is_hub_id(str(source)):
        path = download(str(source))
    return read_folder(path) if path.is_dir() else read_checkpoint(path)


def read_checkpoint(path: Path) -> SavedModel:
    """A checkpoint of ours.

    Raises:
        ConfigError: the file is missing, not one of ours, or of a newer version.
        BrokenCheckpointError: it is truncated, or no checkpoint at all.
    """
    if not path.is_file():
        raise ConfigError(f"ckpt={path}: no such file; training writes outputs/<name>/split<n>/checkpoints/last.ckpt")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail anywhere in the readers of zip archives and pickles
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BrokenCheckpointError(
            f"ckpt={path} cannot be read, it may be truncated or no checkpoint: {reason}"
        ) from error
    if not isinstance(checkpoint, dict) or "weakshot_seg" not in checkpoint:
        raise ConfigError(f"ckpt={path} was not written by weakshot_seg.train")
    return SavedModel.of(
        checkpoint["weakshot_seg"], "version", checkpoint.get("state_dict"), checkpoint.get("global_step"), path
    )
