"""Checks a data set before anything is trained on it: ``weakshot check data=folder data.root=DIR html=FILE``."""

from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.presets import with_preset
from weakshot_seg.reporting.dataset_page import dataset_page
from weakshot_seg.reporting.dataset_report import inspect
from weakshot_seg.reporting.next_step import next_step, training_words
from weakshot_seg.reporting.pages import write_text
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import aligned

MOST = 1000
"""Lines of a kind on the screen."""


@command("check")
def main(cfg: DictConfig) -> None:
    """Prints the tables, remarks and problems, and writes the page; exit code 1 if training cannot work."""
    if "verify" in cfg.data:
        cfg.data.verify = True
    report = inspect(instantiate(cfg.data))
    for table in report.tables:
        print(f"{table.title}\n\n{aligned(table.rows, table.sides)}\n")
    for kind, texts in (("note", report.remarks), ("problem", report.problems)):
        for text in texts[:MOST]:
            print(f"{kind}: {text}")
        if len(texts) > MOST:
            print(f"{kind}: ... and {len(texts) - MOST:,} more")
    print(report.verdict)
    if report.split and not report.problems:
        print("\n".join(_next_step(report.split, report.drawn)))
    if cfg.html:
        write_text(cfg.html, dataset_page(report, cfg.thumbnails))
        print(f"page: {Path(cfg.html).absolute()}")
    if report.problems:
        raise SystemExit(1)


def _next_step(split: ClassSplit, drawn: bool) -> list[str]:
    """What to do now, with the settings that a training would have."""
    words = training_words(HydraConfig.get().overrides.task, split.novel_names if drawn else ())
    free = [word for word in words if not word.startswith("preset=")]
    chosen = with_preset("train", free)
    if set(words) <= set(chosen):  # elsewhere, a training takes what suits that machine
        words = free
    cfg = compose("train", with_preset("train", words))  # Hydra has the files of this command
    return next_step(words, split, cfg.trainer.max_steps, cfg.get("preset"))
