"""Measures a checkpoint on its own validation data or on ``data=...``: ``weakshot evaluate ckpt=FILE``."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.checkpoints.compatibility import check_classes
from weakshot_seg.checkpoints.data_settings import data_of
from weakshot_seg.cli.entry_point import command
from weakshot_seg.cli.run_page import show_run
from weakshot_seg.config.compose import plain
from weakshot_seg.config.named import named_settings
from weakshot_seg.training.trainer import make_trainer
from weakshot_seg.utils.run_status import recorded


@command("evaluate")
def main(cfg: DictConfig) -> float | None:
    """Prints the table, writes pictures and metrics.json; returns novel IoU."""
    run_dir = Path(cfg.output_dir)
    with recorded(run_dir, stage="evaluate", **{key: cfg[key] for key in ("name", "split", "seed", "supervision")}):
        module = load_module(cfg.ckpt, cfg.allow_targets)
        if cfg.get("inference"):
            module.inference = instantiate(cfg.inference)
        data, _ = data_of(module, cfg.ckpt, cfg.get("data") and plain(cfg.data), named_settings(cfg, "data"))
        data.setup("validate")
        check_classes(module.class_split, data.class_split, cfg.ckpt, cfg.force)
        trainer = make_trainer(cfg.trainer, callbacks=list(instantiate(cfg.callbacks).values()), logger=False)
        trainer.validate(module, data, verbose=False)
        assert module.report is not None
        places = {"metrics:": "metrics.json", "pictures:": "pictures"}
        print(f"\n{module.report.table()}\n")
        print("\n".join(f"{what:12} {run_dir / name}" for what, name in places.items()))
    show_run(cfg, "evaluate")
    return module.report.novel_iou
