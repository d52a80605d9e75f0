"""Which files lie in a folder."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path


def is_file_or_link(path: Path) -> bool:
    """A file, or a link to what is not there: that must be said, not skipped."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted, and links to what is not there; hidden folders (``.name``) are left out.

    Links to folders are followed, after all that is no link: every folder counts once, so that loops end.
    """
    found: list[Path] = []
    seen: set[str] = set()
    waiting = deque([folder])
    while waiting:
        for here, folders, files in os.walk(waiting.popleft()):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if (real := os.path.realpath(here)) in seen:
                folders.clear()
                continue
            seen.add(real)
            found += [path for name in files if is_file_or_link(path := Path(here, name))]
            waiting += [path for name in folders if (path := Path(here, name)).is_symlink()]
    return sorted(found)
