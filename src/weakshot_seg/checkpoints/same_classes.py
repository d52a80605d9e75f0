"""A model is measured on the classes and the split that it was trained for, and on no others by accident."""

from __future__ import annotations

import logging
from pathlib import Path

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import first_few

log = logging.getLogger(__name__)


def check_classes(trained: ClassSplit, data: ClassSplit, ckpt: str | Path, force: bool = False) -> None:
    """Refuses data with other class names, or with another split, than those of a checkpoint.

    A model without novel classes fits every split.

    Args:
        trained: of the checkpoint.
        data: of the data.
        ckpt: for the message.
        force: only warn, if at least the number of classes is the same.

    Raises:
        ConfigError: naming what differs and the remedy.
    """
    names = [(ours, theirs) for ours, theirs in zip(trained.names, data.names, strict=False) if ours != theirs]
    remedy = "choose the data and the split that it was trained for"
    if trained.num_classes != data.num_classes:
        raise ConfigError(
            f"ckpt={ckpt} was trained on {trained.num_classes} classes ({first_few(trained.names)}), but the data have "
            f"{data.num_classes} ({first_few(data.names)}): {remedy}"
        )
    if names:
        problem = f"ckpt={ckpt} was trained on other class names: {len(names)} differ, such as {names[0]}"
    elif trained.novel and trained.novel != data.novel:
        problem = (
            f"ckpt={ckpt} was trained with the novel classes {first_few(trained.novel_names)}, but those of the data "
            f"are {first_few(data.novel_names)}"
        )
    else:
        return
    if not force:
        raise ConfigError(f"{problem}: {remedy} (split=..., data.novel_classes=[...]), or add force=true")
    log.warning("force=true: %s", problem)
