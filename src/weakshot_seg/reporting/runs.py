"""Finds the runs below folders and reads what they left; nothing is left out because it failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from weakshot_seg.errors import DataError
from weakshot_seg.reporting.results import Result
from weakshot_seg.utils.files import noting_damage
from weakshot_seg.utils.run_status import RunStatus

MARKS = ("metrics.json", "status.json", ".hydra", "checkpoints", "console.txt")
"""A folder with one of these holds a run."""
INNER = {".hydra", "checkpoints", "csv", "pictures", "ranked", "pseudo_labels", "wandb"}
"""Folders of a run in which there are no runs."""
FACTS = {"name": str, "split": int, "seed": int, "stage": str, "supervision": str}
"""Which run it is, in ``status.json``, ``metrics.json`` and the configuration."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T", dict[str, Any], list[Any])


@dataclass(frozen=True)
class Run:
    """One training or evaluation.

    Attributes:
        title: the folder, from where those of all runs part.
        state: "finished", "failed", "interrupted", "killed", "running", "unfinished".
        reason: why it is not finished.
        name: of the experiment; None if unknown, like split, seed, stage and supervision.
        evaluated: an evaluation of a checkpoint, not a training.
        settings: of the command line, by key.
        without: names of the loss terms left out.
        result: None unless it is finished.
    """

    folder: Path
    title: str
    state: str
    reason: str | None
    name: str | None
    split: int | None
    seed: int | None
    stage: str | None
    supervision: str | None
    evaluated: bool
    settings: dict[str, str]
    without: frozenset[str]
    result: Result | None

    @property
    def measured(self) -> Result:
        """The result of a finished run."""
        assert self.result is not None
        return self.result


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """All runs in and below the folders, each once, sorted by path.

    Raises:
        DataError: a folder is missing, or none of them holds a run.
    """
    folders = [folder.resolve() for folder in folders]
    found = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give folders with runs, such as outputs/synthetic")
        found |= set(_run_folders(folder))
    if not found:
        raise DataError(
            f"no run in or below {', '.join(map(str, folders))}; a run is a folder with metrics.json, .hydra or "
            "checkpoints, such as outputs/synthetic/split1"
        )
    top = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [read_run(folder, str(folder.relative_to(top))) for folder in sorted(found)]


def _run_folders(top: Path) -> Iterator[Path]:
    for place, inner, files in os.walk(top):
        if any(mark in inner or mark in files for mark in MARKS):
            yield Path(place)
        inner[:] = sorted(set(inner) - INNER)


def read_run(folder: Path, title: str) -> Run:
    """A run and how it ended: as ``status.json`` and the number of steps say; damaged files are among the reasons."""
    problems: list[str] = []
    config: dict[str, Any] = {}
    overrides: list[Any] = []
    status, steps, result = None, None, None
    with noting_damage(folder / "status.json", problems):
        status = RunStatus.read(folder)
    home = folder if (folder / ".hydra").is_dir() or folder.name != "retrain" else folder.parent  # of its settings
    with noting_damage(path := home / ".hydra" / "config.yaml", problems):
        config = _yaml(path, dict)
        steps = (config.get("trainer") or {}).get("max_steps")
    with noting_damage(path := home / ".hydra" / "overrides.yaml", problems):
        overrides = _yaml(path, list)
    settings = {key.lstrip("+"): value for key, _, value in (str(text).partition("=") for text in overrides)}
    evaluated = "ckpt" in config
    facts: dict[str, Any] = {key: getattr(status, key, None) for key in FACTS}
    if status is None and "trainer" in config:  # stopped before it wrote one; interpolated names are unknown
        facts = {key: config.get(key) for key in FACTS}
    if (path := folder / "metrics.json").exists():
        with noting_damage(path, problems):
            result = Result.read(path)
            facts = {key: getattr(result, key) for key in FACTS}
    else:
        problems.append("no metrics.json")
    if result and not evaluated and isinstance(steps, int) and result.step < steps:  # Lightning calls it finished
        problems.append(f"stopped after step {result.step} of {steps}")
    state, reason = _state(status, "; ".join(problems) or None, folder)
    for key, kind in FACTS.items():
        if not isinstance(facts[key], kind) or "${" in str(facts[key]):
            facts[key] = None
    return Run(
        folder=folder,
        title=title,
        state=state,
        reason=reason,
        **facts,
        evaluated=evaluated,
        settings=settings,
        without=_left_out(config, settings),
        result=result if state == "finished" else None,
    )


def _state(status: RunStatus | None, problem: str | None, folder: Path) -> tuple[str, str | None]:
    """How a run ended, and why if not well."""
    if status is None:
        if problem is None:
            return "finished", None
        last = _last_line(folder)
        return "unfinished", f"{problem}; its log ends: {last}" if last else problem
    if status.state == "finished":
        return ("unfinished", problem) if problem else ("finished", None)
    if status.was_killed:
        return "killed", f"its process {status.pid} is gone (out of memory?); started {status.started}"
    since = {"running": f"on {status.host} since {status.started}", "interrupted": f"stopped at {status.ended}"}
    return status.state, status.error or since.get(status.state)


def _last_line(folder: Path) -> str | None:
    """The end of what a run wrote to its console or log, where errors are."""
    for path in (folder / "console.txt", *sorted(folder.glob("*.log"))):
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 4096))
                lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
        except OSError:
            continue
        lines = [line.strip() for line in lines if line.strip() and "HYDRA_FULL_ERROR" not in line]
        if lines:
            return lines[-1][-300:]
    return None


def _yaml(path: Path, kind: type[T]) -> T:
    """The content of a file, empty without one; raises what :func:`noting_damage` notes."""
    if not path.exists():
        return kind()
    content = yaml.load(path.read_text("utf-8"), LOADER)
    if not isinstance(content, kind):
        raise TypeError(f"{type(content).__name__} instead of {kind.__name__}")
    return content


def _left_out(config: dict[str, Any], settings: dict[str, str]) -> frozenset[str]:
    """Loss terms of ``loss.without`` and of ``~loss.terms.NAME``."""
    loss = config.get("loss")
    listed = loss.get("without") if isinstance(loss, dict) else None
    removed = (key.removeprefix("~loss.terms.") for key in settings if key.startswith("~loss.terms."))
    return frozenset(map(str, listed if isinstance(listed, list) else ())) | frozenset(removed)
