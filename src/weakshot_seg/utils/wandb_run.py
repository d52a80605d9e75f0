"""One Weights & Biases run per output folder."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from weakshot_seg.utils.files import replacing


def wandb_logger(save_dir: str, resume: bool = False, **settings: Any) -> WandbLogger:
    """A ``WandbLogger`` that keeps its run id in ``<save_dir>/wandb_run_id.txt``: a resumed job continues its run.

    Args:
        save_dir: Folder of the job's outputs.
        resume: Continue the run whose id is there, if any.
        settings: Further arguments of ``WandbLogger`` and ``wandb.init`` (``mode="offline"`` needs no account).
    """
    file = Path(save_dir) / "wandb_run_id.txt"
    if not (resume and file.is_file()):
        _write_new_id(file)
    run_id = file.read_text().strip() if file.is_file() else None  # other ranks log nothing
    return WandbLogger(save_dir=save_dir, id=run_id, **settings)


@rank_zero_only
def _write_new_id(file: Path) -> None:
    with replacing(file) as temporary:
        temporary.write_text(secrets.token_hex(4))
