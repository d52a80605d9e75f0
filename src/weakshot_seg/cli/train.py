"""Trains a model, evaluates it, writes pictures and metrics: ``weakshot train``.

Settings and examples: ``conf/train.yaml``, ``weakshot train --help``.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from tqdm.contrib.logging import logging_redirect_tqdm

from weakshot_seg.checkpoints.building import build_module, load_last, start_from
from weakshot_seg.checkpoints.trusted_targets import named_targets
from weakshot_seg.cli.entry_point import command
from weakshot_seg.cli.run_page import show_run
from weakshot_seg.config.compose import conf_dir, leaves, plain
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.set_aside import FILE as SET_ASIDE
from weakshot_seg.data.set_aside import read_names, write_names
from weakshot_seg.errors import ConfigError
from weakshot_seg.models.backbone import too_large
from weakshot_seg.prediction.pseudo_labelling import make_pseudo_labels
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.training.provenance import note_files
from weakshot_seg.training.step_guard import StepGuard
from weakshot_seg.training.trainer import make_trainer, silence_libraries
from weakshot_seg.utils.recipe import Recipe
from weakshot_seg.utils.run_status import recorded, run_lock

log = logging.getLogger(__name__)


@command("train")
def main(cfg: DictConfig) -> float | None:
    """Runs one job; returns novel IoU, which sweepers may optimise."""
    first = Path(cfg.output_dir)
    with run_lock(first):
        with recorded(first, **identity(cfg)):
            check_stage(cfg)
            novel_iou = train(cfg)
        show_run(cfg, "train", "retrain/index.html" if cfg.retrain else None)
        if cfg.retrain:
            labels = first / "pseudo_labels"
            second = retraining(cfg, labels)
            with recorded(Path(second.output_dir), **identity(second)):
                last, inference = first / "checkpoints" / "last.ckpt", plain(cfg.inference)
                allowed, trainer = named_targets(plain(cfg)), partial(make_trainer, cfg.trainer)
                make_pseudo_labels(last, labels, inference, trainer, cfg.candidates, allow_targets=allowed)
                novel_iou = train(second)
            show_run(second, "train")
    return novel_iou


def identity(cfg: DictConfig) -> dict[str, Any]:
    """Which run this is, for ``status.json``."""
    return {key: cfg[key] for key in ("name", "split", "seed", "stage", "supervision")}


def train(cfg: DictConfig) -> float | None:
    """Trains and evaluates one stage in the folder ``cfg.output_dir``; returns novel IoU."""
    silence_libraries()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    settings, folder = plain(cfg), Path(cfg.output_dir)
    if cfg.resume and "val_photos" in cfg.data and any(folder.glob("checkpoints/*.ckpt")):
        noted = folder / SET_ASIDE  # what has been trained on is not measured on, whatever photos were added since
        settings["data"]["val_photos"] = read_names(noted) if noted.exists() else []
    data: WeakShotDataModule = instantiate(settings["data"])
    data.setup("fit")
    if data.set_aside:
        settings["data"]["val_photos"] = data.set_aside.names
    module = build_module(Recipe.from_dict(settings), data.class_split)
    module.guard = StepGuard(cfg.max_skipped_steps)
    if cfg.teacher:
        module.learn_from(instantiate(cfg.teacher))
    queries, classes = module.model.num_queries, data.max_classes_per_image
    if classes > queries:
        raise ConfigError(
            f"a training image has {classes} classes but the model only {queries} queries; set "
            f"model.num_queries={classes} or more"
        )
    check_image_sizes(getattr(module.model.backbone, "largest", None), settings, data.make_val is not None)
    loggers, callbacks = (list(instantiate(group).values()) for group in (cfg.logger, cfg.callbacks))
    options = {} if data.make_val else {"limit_val_batches": 0}
    trainer = make_trainer(cfg.trainer, callbacks=callbacks, logger=loggers or False, **options)
    check_processes(trainer)
    base, novel = len(data.class_split.base), ", ".join(data.class_split.novel_names)
    scope, devices, batches = cfg.data.label_scope, trainer.world_size, trainer.accumulate_grad_batches
    log.info("split %s: %d base classes with masks; novel, by %s-level labels only: %s", cfg.split, base, scope, novel)
    if preset := cfg.get("preset"):
        log.info("preset=%s: sizes for a machine, see conf/preset; others can be named", preset)
    batch, images = cfg.data.batch_size, cfg.data.batch_size * devices * batches
    log.info("%d images per step: %d per batch, %d device(s), %d batch(es)", images, batch, devices, batches)
    checkpoint = initial_weights(module, cfg)
    if trainer.is_global_zero:
        note_files(folder, data.file_digests(), resumed=checkpoint is not None)
        if data.set_aside:
            write_names(folder / SET_ASIDE, data.set_aside.names)
    try:
        with logging_redirect_tqdm():  # messages go above the progress line
            trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
            if module.report_step != trainer.global_step:
                trainer.validate(module, data, verbose=False)
    finally:
        for logger in loggers:
            if hasattr(logger, "finish"):  # of W&B, which is imported only where it is used
                logger.finish()  # else the next job of a multirun continues this run
    assert module.report is not None
    if trainer.is_global_zero:
        places = {"metrics:": "metrics.json", "pictures:": "pictures", "checkpoints:": "checkpoints"}
        print(f"\n{module.report.table()}\n")
        print("\n".join(f"{what:12} {folder / name}" for what, name in places.items()))
    return module.report.novel_iou


def initial_weights(module: WeakShotModule, cfg: DictConfig) -> Path | None:
    """Puts the weights to start from into the module, if there are any; returns the checkpoint to resume from."""
    folder = Path(cfg.output_dir)
    checkpoint = load_last(module, folder / "checkpoints") if cfg.resume else None
    if checkpoint:
        log.info("going on from %s", checkpoint)
        return checkpoint
    if cfg.resume:
        if (folder / "metrics.json").exists():
            raise ConfigError(
                f"resume=true, but {folder} has results and no checkpoint to go on from: a training would overwrite "
                "them; leave out resume=true to train in a new folder"
            )
        log.info("resume=true, but there is no checkpoint in %s: starting from the beginning", folder / "checkpoints")
    if cfg.partial and not cfg.weights:
        raise ConfigError("partial=true is about weights=FILE: give both or none")
    if cfg.weights:
        start_from(module, cfg.weights, cfg.partial)
    return None


def retraining(cfg: DictConfig, labels: Path) -> DictConfig:
    """The configuration of the second stage: that of the first, ``conf/stage/retrain.yaml``, a folder of its own."""
    first = Path(cfg.output_dir)
    own: dict[str, Any] = {"pseudo_labels": str(labels), "output_dir": str(first / "retrain"), "retrain": False}
    if (noted := first / SET_ASIDE).exists():
        own["data"] = {"val_photos": str(noted)}
    with open_dict(cfg):  # the stage adds keys
        return cast(DictConfig, OmegaConf.merge(cfg, OmegaConf.load(conf_dir() / "stage" / "retrain.yaml"), own))


def check_stage(cfg: DictConfig) -> None:
    """Refuses settings of the two stages that contradict each other, with a :class:`ConfigError`."""
    if (cfg.stage == "retrain") != bool(cfg.pseudo_labels):
        raise ConfigError(
            "stage=retrain and pseudo_labels=DIR (of weakshot pseudo-label) belong together; retrain=true does "
            "both stages in one go"
        )
    if cfg.retrain and cfg.stage == "retrain":
        raise ConfigError("retrain=true starts from the first stage: leave out stage=retrain")
    if cfg.supervision != "weakshot" and (cfg.retrain or cfg.pseudo_labels):
        raise ConfigError(f"re-training needs supervision=weakshot, not {cfg.supervision}: there is nothing to label")


def check_image_sizes(largest: tuple[int, int] | None, settings: dict[str, Any], validates: bool) -> None:
    """Refuses crops and windows that a network made for one size cannot take, with a :class:`ConfigError`."""
    if largest is None:
        return
    crop = settings["data"].get("train_transform", {}).get("crop_size")
    windows = [value for key, value in leaves(settings["inference"]) if key.split(".")[-1] == "window"]
    if crop and crop > min(largest):
        raise ConfigError(too_large(largest, f"crops of {crop}"))
    if validates and not (windows and windows[0] <= min(largest)):
        what = f"windows of {windows[0]}" if windows else "whole images"
        raise ConfigError(too_large(largest, f"{what} in validations"))


def check_processes(trainer: pl.Trainer) -> None:
    """Refuses a multirun whose jobs start processes, which would replay the sweep, with a :class:`ConfigError`."""
    environment = getattr(trainer.strategy, "cluster_environment", None)
    external = environment is not None and environment.creates_processes_externally
    if HydraConfig.get().mode == RunMode.MULTIRUN and trainer.num_devices > 1 and not external:
        raise ConfigError(
            "a multirun (-m) with several devices per job would mix up its jobs; use scripts/sweep.sh or "
            "hydra/launcher=slurm"
        )
