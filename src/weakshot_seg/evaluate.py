"""Measures a checkpoint: ``python -m weakshot_seg.evaluate ckpt=FILE``.

The validation data are those of the checkpoint's own recipe unless ``data=...`` is given.
"""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.checkpoint import load_module, own_data
from weakshot_seg.config import conf_dir, entry_point, plain
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.errors import ConfigError

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="evaluate")
@entry_point
def main(cfg: DictConfig) -> float | None:
    """Prints the table, writes pictures and metrics.json; returns novel IoU."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    module = load_module(cfg.ckpt, cfg.allow_targets)
    module.inference = instantiate(cfg.inference)
    recipe = plain(cfg.data) if cfg.get("data") else own_data(module, cfg.ckpt)
    data: WeakShotDataModule = instantiate(recipe)
    data.setup("validate")
    if data.class_names != module.class_split.names:
        raise ConfigError(
            f"the data have {len(data.class_names)} classes ({', '.join(data.class_names[:3])}, ...), "
            f"but {cfg.ckpt} was trained on "
            f"{len(module.class_split.names)} ({', '.join(module.class_split.names[:3])}, ...)"
        )
    trainer: pl.Trainer = instantiate(cfg.trainer, callbacks=list(instantiate(cfg.callbacks).values()), logger=False)
    trainer.validate(module, data, verbose=False)
    assert module.report is not None
    print(f"\n{module.report.table()}\n\nmetrics:  {run_dir / 'metrics.json'}\npictures: {run_dir / 'pictures'}")
    return module.report.novel_iou


if __name__ == "__main__":
    main()
