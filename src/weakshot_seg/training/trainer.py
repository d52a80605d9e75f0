"""The trainer of an entry point's settings."""

import logging
import warnings
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
UNHELPFUL = (
    r"Found \d+ module\(s\) in eval mode",  # frozen normalisation layers
    r"The '.*_dataloader' does not have many workers",  # data.num_workers is chosen on purpose
    r".*your dataloader is not resumable",  # ours needs no state
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r"Checkpoint directory .* exists and is not empty",  # of a resumed run
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`",  # a skipped first step in fp16
)
"""Warnings of libraries that name nothing a user could mend."""

log = logging.getLogger(__name__)


def silence_libraries() -> None:
    """Keeps warnings and tips of libraries from the console that nobody can act on: the only place that does so."""
    for message in UNHELPFUL:
        warnings.filterwarnings("ignore", message=message)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # devices found, tips, "max_steps reached"
    logging.getLogger("timm").setLevel(logging.ERROR)  # names in weights files: models.backbone compares them itself


def make_trainer(settings: DictConfig, **options: Any) -> pl.Trainer:
    """Builds the trainer of the group ``trainer``; its ``val_check_interval`` counts steps (or is their share).

    A :class:`ConfigError` says that the machine or Lightning cannot do what the settings ask for.
    """
    silence_libraries()
    check_devices(settings.get("accelerator", "auto"), settings.get("devices", 1))
    precision = str(settings.get("precision") or "32")
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision}: choose one of {', '.join(PRECISIONS)}")
    if settings.get("max_epochs") is not None:
        log.warning(
            "trainer.max_epochs=%s has no effect: training is one pass of trainer.max_steps=%s optimiser steps",
            *(settings.max_epochs, settings.get("max_steps")),
        )
        options["max_epochs"] = None
    interval = settings.get("val_check_interval")
    if isinstance(interval, float) and settings.get("max_steps", -1) > 0:
        interval = max(1, int(interval * settings.max_steps))
    if isinstance(interval, int):  # Lightning counts batches
        options["val_check_interval"] = interval * settings.get("accumulate_grad_batches", 1)
    try:
        trainer: pl.Trainer = instantiate(settings, **options)
    except InstantiationException as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, UserError):
            raise
        raise ConfigError(f"these settings of trainer do not work here: {cause}") from error
    return trainer


def check_devices(accelerator: str, devices: Any) -> None:
    """Refuses with a :class:`ConfigError` more processes than there are CPUs: Lightning would start any number."""
    has_gpu = accelerator != "cpu" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    most = max(num_cpus(), 2)  # two is how one tries whether several work
    if accelerator in ("cpu", "auto") and not has_gpu and str(devices).isdigit() and int(devices) > most:
        raise ConfigError(
            f"trainer.devices={devices} would start as many processes, but without a GPU this machine has {num_cpus()} "
            f"CPU(s): use trainer.devices=1, or {most} at most"
        )
