"""One process at a time per output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import remove_leftovers


def is_first_process() -> bool:
    """Whether this is the first, or only, process of a run; Lightning has the number without declaring it."""
    return getattr(rank_zero_only, "rank", 0) == 0


def claim(folder: Path) -> bool:
    """Makes a folder and takes it for this process, until it ends, however it ends, or :func:`run_lock` is left.

    Data loading processes, which outlive a killed run by seconds, do not hold it. Of the processes of one distributed
    run the first one holds the lock. False if another process has it.
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
    """Holds the folder of a run while the block lasts, and removes half-written files of a killed run.

    Raises:
        ConfigError: another process holds it.
    """
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


@cache  # a lock is held as long as its object lives
def _lock(folder: Path) -> FileLock:
    return FileLock(folder / ".lock")
