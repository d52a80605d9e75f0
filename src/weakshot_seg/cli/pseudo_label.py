"""Predicts pseudo-labels for re-training: ``weakshot pseudo-label ckpt=FILE out=DIR``."""

from functools import partial

from omegaconf import DictConfig

from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import plain
from weakshot_seg.config.named import named_settings
from weakshot_seg.prediction.pseudo_labelling import make_pseudo_labels
from weakshot_seg.training.trainer import make_trainer


@command("pseudo_label")
def main(cfg: DictConfig) -> float | None:
    """Labels all training images; prints and returns their novel IoU."""
    trainer, inference = partial(make_trainer, cfg.trainer), cfg.get("inference") and plain(cfg.inference)
    choice = (
        cfg.candidates,
        cfg.get("data") and plain(cfg.data),
        named_settings(cfg, "data"),
        cfg.allow_targets,
        cfg.force,
    )
    return make_pseudo_labels(cfg.ckpt, cfg.out, inference, trainer, *choice)
