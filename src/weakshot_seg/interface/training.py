"""``weakshot_seg.train``: the command ``weakshot train`` as a call."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from weakshot_seg.cli.entry_point import task_of
from weakshot_seg.config.compose import plain
from weakshot_seg.errors import ConfigError
from weakshot_seg.interface.jobs import messages, run
from weakshot_seg.interface.run import Run
from weakshot_seg.interface.words import as_words


def train(
    experiment: str | None = None,
    *words: str,
    root: str | os.PathLike[str] | None = None,
    novel: Sequence[str] | None = None,
    **settings: Any,
) -> Run:
    """Trains and evaluates as the command does, with its settings, in its folders.

    Args:
        experiment: a file of ``conf/experiment``: ``"folder"`` for photos of your own; None: generated scenes.
        words: more settings as on the command line, such as ``"loss/presence=none"`` or ``"~callbacks.panels"``.
        root: ``data.root``, the folder of the photos.
        novel: ``data.novel_classes``, the classes that have tags and no masks.
        settings: all others: values, choices of a group (``trainer="cpu"``), or dicts of them.

    Raises:
        UserError: something cannot work; the message says what, and what to do.
        KeyboardInterrupt: Ctrl-C; the training is saved, and the same call with ``resume=True`` goes on.

    Examples:
        >>> train("folder", root="photos", novel=["heron"], trainer={"max_steps": 500}, name="birds")  # doctest: +SKIP
    """
    given = {"data.root": root, "data.novel_classes": novel}
    named = {"experiment": experiment} | {key: value for key, value in given.items() if value is not None}
    chosen = [*as_words({key: value for key, value in named.items() if value is not None}), *as_words(settings)]
    folder, stages = run("train", [*chosen, *words], _train)
    return Run(folder / "retrain" if stages == 2 else folder)


def _train(cfg: DictConfig) -> int:
    """Returns how many stages were trained."""
    devices = plain(cfg.trainer).get("devices", 1)
    if devices not in (1, "1") and not (isinstance(devices, list) and len(devices) == 1):
        raise ConfigError(f"trainer.devices={devices}: only the command weakshot train starts several processes")
    with messages(Path(cfg.output_dir) / "train.log"):
        task_of("train")(cfg)
    return 2 if cfg.retrain else 1
