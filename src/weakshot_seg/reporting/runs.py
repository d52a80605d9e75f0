"""Finds the runs below folders and reads what they left; nothing is left out because it failed."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from weakshot_seg.errors import DataError
from weakshot_seg.reporting.results import Result
from weakshot_seg.utils.files import noting_damage
from weakshot_seg.utils.run_status import RunStatus

MARKS = {"metrics.json", "status.json", ".hydra", "checkpoints", "console.txt"}
"""A folder with one of these holds a run."""
INNER = {".hydra", "checkpoints", "csv", "pictures", "ranked", "pseudo_labels", "wandb"}
"""Folders of a run in which there are no runs."""
FACTS = {"name": str, "split": int, "seed": int, "stage": str, "supervision": str}
"""Which run it is, in ``status.json``, ``metrics.json`` and the configuration."""
PARTS = {"loss/teacher": "teacher", "loss/presence": "presence"}
"""Groups of settings whose option ``none`` leaves out a part of the method."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T", dict[str, Any], list[Any])


@dataclass(frozen=True)
class Run:
    """One training or evaluation; unknown are None."""

    folder: Path
    title: str  # the folder, from where those of all runs part
    state: str  # "finished", "failed", "interrupted", "killed", "running", "unfinished"
    reason: str | None  # why it is not finished
    evaluated: bool  # an evaluation of a checkpoint, not a training
    settings: dict[str, str]  # of the command line, by key
    without: frozenset[str]  # names of the loss terms left out, and of the parts of the method (PARTS)
    result: Result | None  # None unless it is finished
    name: str | None = None  # of the experiment
    split: int | None = None
    seed: int | None = None
    stage: str | None = None
    supervision: str | None = None

    @property
    def measured(self) -> Result:
        """The result of a finished run."""
        assert self.result is not None
        return self.result


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """All runs in and below the folders, each once, sorted by path; a DataError without a folder or any run."""
    folders = [folder.resolve() for folder in folders]
    found = set()
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give folders with runs, such as outputs/synthetic")
        for place, inner, files in os.walk(folder):
            if MARKS & {*inner, *files}:
                found.add(Path(place))
            inner[:] = set(inner) - INNER
    if not found:
        places = ", ".join(map(str, folders))
        raise DataError(f"no run in or below {places}; a run is a folder such as outputs/synthetic/split1")
    top = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [read_run(folder, str(folder.relative_to(top))) for folder in sorted(found)]


def read_run(folder: Path, title: str) -> Run:
    """A run and how it ended: as ``status.json`` and the number of steps say; damaged files are among the reasons."""
    problems: list[str] = []
    config: dict[str, Any] = {}
    overrides: list[Any] = []
    left_out: list[str] = []
    status, steps, result = None, None, None
    with noting_damage(folder / "status.json", problems):
        status = RunStatus.read(folder)
    home = folder if (folder / ".hydra").is_dir() or folder.name != "retrain" else folder.parent  # of its settings
    with noting_damage(path := home / ".hydra" / "config.yaml", problems):
        config = _yaml(path, dict)
        steps = (config.get("trainer") or {}).get("max_steps")
        left_out = [str(name) for name in (config.get("loss") or {}).get("without") or ()]
    with noting_damage(path := home / ".hydra" / "overrides.yaml", problems):
        overrides = _yaml(path, list)
    settings = {key.lstrip("+"): value for key, _, value in (str(text).partition("=") for text in overrides)}
    left_out += [key.removeprefix("~loss.terms.") for key in settings if key.startswith("~loss.terms.")]
    left_out += [part for group, part in PARTS.items() if settings.get(group) == "none"]
    evaluated = "ckpt" in config
    if (path := folder / "metrics.json").exists():
        with noting_damage(path, problems):
            result = Result.read(path)
    else:
        problems.append("no metrics.json")
    if result and not evaluated and isinstance(steps, int) and result.step < steps:  # Lightning calls it finished
        problems.append(f"stopped after step {result.step} of {steps}")
    facts: dict[str, Any] = {}
    if known := result or status:
        facts = {key: getattr(known, key) for key in FACTS}
    elif "trainer" in config:  # stopped before it wrote one; interpolated names are unknown
        facts = {key: value for key, kind in FACTS.items() if isinstance(value := config.get(key), kind)}
        facts = {key: value for key, value in facts.items() if "${" not in str(value)}
    state, reason = _state(status, "; ".join(problems) or None, folder)
    finished = result if state == "finished" else None
    return Run(folder, title, state, reason, evaluated, settings, frozenset(left_out), finished, **facts)


def _state(status: RunStatus | None, problem: str | None, folder: Path) -> tuple[str, str | None]:
    """How a run ended, and why if not well."""
    if status is None and problem and (last := _last_line(folder)):
        problem += f"; its log ends: {last}"
    if status is None or status.state == "finished":
        return "unfinished" if problem else "finished", problem
    if status.was_killed:
        return "killed", f"its process {status.pid} is gone (out of memory?); started {status.started}"
    since = {"running": f"on {status.host} since {status.started}", "interrupted": f"stopped at {status.ended}"}
    return status.state, status.error or since.get(status.state)


def _last_line(folder: Path) -> str | None:
    """The end of what a run wrote to its console or log, where errors are."""
    for path in (folder / "console.txt", *sorted(folder.glob("*.log"))):
        with suppress(OSError):
            lines = path.read_bytes()[-4096:].decode("utf-8", "replace").splitlines()
            if lines := [line.strip() for line in lines if line.strip() and "HYDRA_FULL_ERROR" not in line]:
                return lines[-1][-300:]
    return None


def _yaml(path: Path, kind: type[T]) -> T:
    """The content of a file, empty without one; raises what :func:`noting_damage` notes."""
    content = yaml.load(path.read_text("utf-8"), LOADER) if path.exists() else kind()
    if not isinstance(content, kind):
        raise TypeError(f"{type(content).__name__} instead of {kind.__name__}")
    return content
