"""``weakshot_seg.Dataset.check``: the command ``weakshot check`` as a call."""

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from weakshot_seg.interface.jobs import run
from weakshot_seg.interface.words import as_words
from weakshot_seg.reporting.dataset_page import dataset_page
from weakshot_seg.reporting.dataset_report import DatasetReport, inspect
from weakshot_seg.utils.tables import aligned

THUMBNAILS = 8
"""Pictures of each part that a notebook shows."""


@dataclass(frozen=True)
class Findings:
    """What a data set holds, and all that is wrong with it: a notebook shows the page of ``weakshot check``."""

    report: DatasetReport

    @property
    def ok(self) -> bool:
        """Training can start."""
        return not self.report.problems

    @property
    def problems(self) -> Sequence[str]:
        """Why training cannot start, a line each."""
        return self.report.problems

    @property
    def remarks(self) -> Sequence[str]:
        """What is suspicious, a line each."""
        return self.report.remarks

    def __str__(self) -> str:
        tables = [f"{table.title}\n\n{aligned(table.rows, table.sides)}\n" for table in self.report.tables]
        notes = [f"note: {text}" for text in self.remarks] + [f"problem: {text}" for text in self.problems]
        return "\n".join([*tables, *notes, self.report.verdict])

    def _repr_html_(self) -> str:
        page = html.escape(dataset_page(self.report, THUMBNAILS))  # in a frame: its style is not the notebook's
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 40em; border: 1px solid silver"></iframe>'


class Dataset:
    """Photos of your own in a folder, see ``conf/data/folder.yaml``."""

    @staticmethod
    def check(
        root: str | os.PathLike[str], *words: str, novel: Sequence[str] | None = None, **settings: Any
    ) -> Findings:
        """Reads every image and mask once; settings as in ``weakshot_seg.train``."""
        given = {"data.root": root} | ({} if novel is None else {"data.novel_classes": novel})
        chosen = ["data=folder", *as_words(given), *as_words(settings), *words]
        return Findings(run("check", chosen, _inspect)[1])


def _inspect(cfg: DictConfig) -> DatasetReport:
    if "verify" in cfg.data:
        cfg.data.verify = True
    return inspect(instantiate(cfg.data))
