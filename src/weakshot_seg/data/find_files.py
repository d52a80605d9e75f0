"""Which files lie in a folder or match a pattern; loops of links end."""

import glob
import os
from collections import deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path


def _is_file(path: Path) -> bool:
    return path.is_file() or (path.is_symlink() and not path.exists())  # a link to nothing is reported, not skipped


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted, and links to nothing; hidden folders (``.name``) are left out.

    Links to folders are followed, after all that is no link: every folder counts once, so that loops end.
    """
    found: list[str] = []
    seen: set[str] = set()
    waiting = deque([os.fspath(folder)])
    while waiting:
        below = [waiting.popleft()]
        while below:
            here = below.pop()
            try:
                entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            except OSError:
                continue
            if (real := os.path.realpath(here)) in seen:
                continue
            seen.add(real)
            folders: list[str] = []
            for entry in entries:  # what a folder says of its entries spares a look at each file
                if os.path.isdir(entry) if entry.is_symlink() else entry.is_dir():
                    if not entry.name.startswith("."):
                        (waiting if entry.is_symlink() else folders).append(entry.path)
                elif entry.is_file(follow_symlinks=False) or _is_file(Path(entry)):
                    found.append(entry.path)
            below += reversed(folders)
    return list(map(Path, sorted(found, key=lambda path: path.split(os.sep))))


def files_matching(pattern: Path) -> list[Path]:
    """Files that match a glob pattern (``**``: any folders), sorted, and links to nothing.

    As :func:`glob.glob` matches, but below ``**`` folders are walked as by :func:`files_below`.
    """
    parts = pattern.parts
    if "**" not in parts:
        return sorted(path for name in glob.glob(str(pattern)) if _is_file(path := Path(name)))
    at = parts.index("**")
    return sorted(
        path
        for folder in map(Path, glob.glob(str(Path(*parts[:at]))) if at else ["."])
        for path in files_below(folder)
        if _matches(path.relative_to(folder).parts, parts[at:])
    )


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    if not path or not pattern:
        return not path and set(pattern) <= {"**"}
    if pattern[0] == "**":
        return _matches(path, pattern[1:]) or (not path[0].startswith(".") and _matches(path[1:], pattern))
    hidden = path[0].startswith(".") and not pattern[0].startswith(".")
    return not hidden and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])
