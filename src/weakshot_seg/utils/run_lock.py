"""One process at a time per output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only

from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import remove_leftovers


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder of a run while the block lasts. The system frees it when the process ends, however it ends.

    (filelock takes care that data loading processes, which outlive a killed run by seconds, do not hold it as well.) Of
    the processes of one distributed run the first holds the lock.

    Raises:
        ConfigError: another process holds it.
    """
    if getattr(rank_zero_only, "rank", 0):  # Lightning sets it without declaring it
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"another process is training in {folder}: wait until it ends, or start a run of its own with "
            "hydra.run.dir=DIR"
        ) from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()
