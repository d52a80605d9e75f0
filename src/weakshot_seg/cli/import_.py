"""Makes the folders of ``data=folder`` from what annotation tools export: ``weakshot import SOURCE out=ROOT``."""

import shlex
import sys
from pathlib import Path

from omegaconf import DictConfig

from weakshot_seg.cli.entry_point import command
from weakshot_seg.config.compose import several
from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.importers.run import import_sources
from weakshot_seg.data.importers.source import Source
from weakshot_seg.data.importers.summary import remarks, tables
from weakshot_seg.utils.tables import aligned


@command("import")
def main(cfg: DictConfig) -> None:
    """Writes the folder and prints what is in it; exit code 1, a list and no folder if something is wrong."""
    out = Path(cfg.out).expanduser().absolute()
    images, names = _paths(cfg.images), (*_paths(cfg.classes), None)[0]
    columns = cfg.image_column, cfg.class_column
    sources = [Source(path, images, "training", names, columns) for path in _paths(cfg.source)]
    sources += [Source(path, images, "validation", names, columns) for path in _paths(cfg.validation)]
    try:
        done = import_sources(sources, out, cfg.format, cfg.unnamed, cfg["copy"], cfg.only)
    except BadFiles as error:
        print(*(f"problem: {problem.message}" for problem in error.problems), sep="\n", file=sys.stderr)
        print(f"problems: {len(error.problems)}; nothing is written to {out}", file=sys.stderr)
        raise SystemExit(1) from None
    for table in tables(done):
        print(f"{table.title}\n\n{aligned(table.rows, table.sides)}\n")
    print(*remarks(done), sep="\n")
    print("next:", shlex.join(["weakshot", "check", "experiment=folder", f"data.root={out}"]))


def _paths(setting: object) -> list[Path]:
    return [Path(path).expanduser() for path in several(setting)]
