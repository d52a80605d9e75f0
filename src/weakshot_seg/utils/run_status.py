"""The folder of a run: one process at a time, and ``status.json``: which run it is and how it stands."""

from __future__ import annotations

import json
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Lt
from filelock import FileLock, Timeout
from lightning_utilities.core.rank_zero import rank_zero_only
from pydantic import TypeAdapter

from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import lives, remove_leftovers, replacing

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def is_first_process() -> bool:
    """Whether this is the first, or only, process of a run.

    Lightning has the number, without declaring it; where Lightning is not imported, which takes seconds, it is found as
    Lightning finds it.
    """
    rank = getattr(rank_zero_only, "rank", None)
    return int(next((os.environ[name] for name in RANKS if name in os.environ), 0) if rank is None else rank) == 0


def claim(folder: Path) -> bool:
    """Makes a folder and takes it for this process until it ends, however it ends, or :func:`run_lock` is left.

    Of the processes of one distributed run the first one holds the lock. False if another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if is_first_process():
            _lock(folder.resolve()).acquire(blocking=False)
    except Timeout:
        return False
    return True


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Claims a folder (else a ConfigError) while the block lasts, and removes half-written files of a killed run."""
    if not claim(folder):
        raise ConfigError(
            f"another process is training in {folder}: wait until it ends, or give this run a name of its own "
            "(name=NAME; in a sweep such as 'name=lr${optim.lr}')"
        )
    try:
        if is_first_process():
            remove_leftovers(folder)
        yield
    finally:
        _lock(folder.resolve()).release(force=True)


@cache  # a lock is held as long as its object lives; data loading processes, which outlive a killed run, do not hold it
def _lock(folder: Path) -> FileLock:
    return FileLock(folder / ".lock")


@dataclass(frozen=True)
class RunStatus:
    """How a run stands: "failed" by an error, "interrupted" by Ctrl-C or a signal; a killed run stays "running"."""

    state: Literal["running", "finished", "failed", "interrupted"]
    name: str
    split: int
    seed: int
    stage: str
    supervision: str
    started: str = ""  # local time, ISO 8601
    ended: str | None = None
    host: str = ""
    pid: Annotated[int, Ge(0), Lt(2**31)] = 0
    error: str | None = None  # in one line
    traceback: str | None = None

    @classmethod
    def read(cls, folder: Path) -> RunStatus | None:
        """The status of a run, None if the folder has none; raises an error of any kind if the file is damaged."""
        file = folder / "status.json"
        return TypeAdapter(cls).validate_json(file.read_text("utf-8"), strict=True) if file.exists() else None

    def write(self, folder: Path) -> None:
        """Writes ``status.json``, whole or not at all."""
        with replacing(folder / "status.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def was_killed(self) -> bool:
        """It says "running", but was started on this machine and its process is gone."""
        return self.state == "running" and self.host == socket.gethostname() and not lives(self.pid)


@contextmanager
def recorded(folder: Path, *, name: str, split: int, seed: int, stage: str, supervision: str) -> Iterator[None]:
    """Keeps ``status.json`` of the run in ``folder`` while the block runs; errors pass through.

    Of several processes the first one writes, and whichever fails first. A command that is refused leaves the status of
    the run that is there: nothing has been done to it.
    """
    former, host = _readable(folder), socket.gethostname()
    status = RunStatus("running", name, split, seed, stage, supervision, _now(), host=host, pid=os.getpid())
    if is_first_process():
        status.write(folder)
    try:
        yield
    except Exception as error:
        before = _readable(folder)
        if former is not None and (isinstance(error, ConfigError) or isinstance(error.__cause__, ConfigError)):
            former.write(folder)
        elif before is None or before.state != "failed":
            line = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
            replace(status, state="failed", ended=_now(), error=line, traceback=traceback.format_exc()).write(folder)
        raise
    except BaseException:  # Ctrl-C, or a signal that Lightning turned into an exit
        if is_first_process():
            replace(status, state="interrupted", ended=_now()).write(folder)
        raise
    if is_first_process():
        replace(status, state="finished", ended=_now()).write(folder)


def _readable(folder: Path) -> RunStatus | None:
    """The status of a run; None without one, and for a damaged one: it will be replaced."""
    with suppress(Exception):
        return RunStatus.read(folder)
    return None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
