"""Measures a checkpoint: ``weakshot evaluate ckpt=FILE``.

The validation data are those of the checkpoint's own recipe unless ``data=...`` is given.
"""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.checkpoints.building import load_module, own_data
from weakshot_seg.checkpoints.compatibility import check_classes
from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import plain
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.training.trainer import make_trainer
from weakshot_seg.utils.run_status import recorded

log = logging.getLogger(__name__)


@command("evaluate")
def main(cfg: DictConfig) -> float | None:
    """Prints the table, writes pictures and metrics.json; returns novel IoU."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    identity = {key: cfg[key] for key in ("name", "split", "seed", "supervision")}
    with recorded(run_dir, stage="evaluate", **identity):
        return evaluate(cfg, run_dir)


def evaluate(cfg: DictConfig, run_dir: Path) -> float | None:
    """Measures the checkpoint of the settings; results go to ``run_dir``; returns novel IoU."""
    module = load_module(cfg.ckpt, cfg.allow_targets)
    module.inference = instantiate(cfg.inference)
    recipe = plain(cfg.data) if cfg.get("data") else own_data(module, cfg.ckpt)
    data: WeakShotDataModule = instantiate(recipe)
    data.setup("validate")
    check_classes(module.class_split, data.class_split, cfg.ckpt, cfg.force)
    trainer = make_trainer(cfg.trainer, callbacks=list(instantiate(cfg.callbacks).values()), logger=False)
    trainer.validate(module, data, verbose=False)
    assert module.report is not None
    print(f"\n{module.report.table()}\n\nmetrics:  {run_dir / 'metrics.json'}\npictures: {run_dir / 'pictures'}")
    return module.report.novel_iou


if __name__ == "__main__":
    main()
