"""Checkpoints that an interruption cannot spoil."""

from __future__ import annotations

import os
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from weakshot_seg.utils.files import replacing


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's own writer may copy from another disk, and be cut off."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Saves to the local file ``path``.

        Raises:
            OSError: naming the file, if the disk is full; the former file is still there.
        """
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())  # network file systems may find only now that the disk is full
        except (OSError, RuntimeError) as error:  # torch hides the failed write behind what followed from it
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) or cause.errno is None:
                raise
            raise OSError(cause.errno, cause.strerror, os.fspath(path)) from None
