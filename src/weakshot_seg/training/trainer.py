"""The trainer of an entry point's settings."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.data.parallel import num_cpus
from weakshot_seg.errors import ConfigError, UserError

PRECISIONS = ("32", "32-true", "16", "16-mixed", "bf16", "bf16-mixed")
"""Those of Lightning that leave the batch as it is: the others would convert label maps, too."""


def make_trainer(settings: DictConfig, **options: Any) -> pl.Trainer:
    """Builds the trainer.

    Args:
        settings: the group ``trainer``.
        **options: more arguments.

    Raises:
        ConfigError: this machine has not the devices, the precision is none of :data:`PRECISIONS`, or Lightning refuses
            the settings.
    """
    check_devices(settings.get("accelerator", "auto"), settings.get("devices", 1))
    precision = str(settings.get("precision") or "32")
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision}: choose one of {', '.join(PRECISIONS)}")
    try:
        trainer: pl.Trainer = instantiate(settings, **options)
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, UserError):
            raise
        raise ConfigError(f"these settings of trainer do not work here: {cause}") from error
    return trainer


def check_devices(accelerator: str, devices: Any) -> None:
    """Refuses more processes than there are CPUs: Lightning would start any number.

    Raises:
        ConfigError: naming the number and the remedy.
    """
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    most = max(num_cpus(), 2)  # two is how one tries whether several work
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not has_gpu)
    if on_cpu and str(devices).isdigit() and int(devices) > most:
        raise ConfigError(
            f"trainer.devices={devices} would start as many processes, but without a GPU this machine has {num_cpus()} "
            f"CPU(s): use trainer.devices=1, or {most} at most"
        )
