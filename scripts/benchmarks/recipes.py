"""Trainings as ``weakshot train`` makes them, as contestants: network, losses and teacher of its settings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmarks.contestants import Ours
from benchmarks.workload import Workload
from weakshot_seg.config import presets  # noqa: F401  its resolver is used in conf/experiment
from weakshot_seg.config.compose import conf_dir


def settings_of(words: Sequence[str]) -> DictConfig:
    """The settings of a training from scratch, of the words of its command line."""
    own = ("model.backbone.pretrained=false", "resume=false", "output_dir=null", "name=benchmark")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [*own, *words])


def recipe(name: str, settings: DictConfig, num_classes: int, work: Workload, precision: str, clock: str) -> Ours:
    """On the images of ``work``; a training with a teacher on targets that leave something open."""
    torch.manual_seed(0)
    model, criterion = instantiate(settings.model, num_classes=num_classes), instantiate(settings.loss)
    teacher = instantiate(settings.teacher) if settings.teacher else None
    targets = work.weak if teacher is None else work.open
    return Ours(name, model, criterion, targets, work, precision, clock, teacher)
