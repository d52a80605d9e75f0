"""What to predict: files, folders, glob patterns and lists of paths, and a name for the results of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path, PurePath
from typing import BinaryIO

from weakshot_seg.data.find_files import files_below, files_matching
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.records import VIDEO_SUFFIXES, Item, is_result

STDIN = "-"
SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES


def find_items(sources: Sequence[str], listed: BinaryIO, setting: str = "source") -> list[Item]:
    """Images and videos, each once, in the order of the sources; those of a folder or pattern sorted by path.

    Results keep the folders of their images: names are paths below the deepest folder that all sources share. Where two
    would differ in the suffix alone (``a.jpg``, ``a.png``), it stays in the name.

    Args:
        sources: each a file, a folder (with all in it), a glob pattern (``**``: any folders), or ``-``: paths in
            ``listed``. What is hidden (``.name``) is left out, unless it is named itself; results of predictions are.
        listed: paths, one per line or separated by NUL. Those that do not exist are items, too: whoever reads them
            reports them, and goes on.
        setting: name of the setting that the sources are from, for messages.

    Raises:
        DataError: a source holds nothing.
        ConfigError: a source is itself a result.
    """
    found: dict[Path, Path] = {}  # file -> the folder that it was found in
    for source in sources:
        files = _listed(listed) if source == STDIN else _named(source, setting)
        if not files:
            known = ", ".join(sorted(SUFFIXES))
            reason = f"no such file, or no images and videos ({known}) there"
            raise DataError(f"{setting}={source}: {'no paths on standard input' if source == STDIN else reason}")
        for file, folder in files.items():
            found.setdefault(file, folder)
    return _with_names(found)


def _named(source: str, setting: str) -> dict[Path, Path]:
    path = Path(os.path.abspath(os.path.expanduser(source)))
    if path.is_file():
        if is_result(path):
            raise ConfigError(f"{setting}={source} is itself a result: name another folder for new ones (out=...)")
        return {path: path.parent}
    if path.is_dir():
        return _in_folder(path)
    fixed = takewhile(lambda part: not set("*?[") & set(part), path.parts[:-1])
    return _kept(files_matching(path), Path(*fixed))


def _listed(file: BinaryIO) -> dict[Path, Path]:
    content = file.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    found: dict[Path, Path] = {}
    for path in (Path(os.path.abspath(os.fsdecode(name))) for name in names if name.strip()):
        if path.is_dir():
            found |= _in_folder(path)
        elif not is_result(path):
            found[path] = path.parent
    return found


def _in_folder(folder: Path) -> dict[Path, Path]:
    return _kept((path for path in files_below(folder) if not path.name.startswith(".")), folder)


def _kept(paths: Iterable[Path], folder: Path) -> dict[Path, Path]:
    return {path: folder for path in paths if path.suffix.lower() in SUFFIXES and not is_result(path)}


def _with_names(found: dict[Path, Path]) -> list[Item]:
    shared = os.path.commonpath(list(found.values()))
    whole = {file: PurePath(os.path.relpath(file, shared)) for file in found}
    folders = {str(folder).casefold() for path in whole.values() for folder in path.parents}
    # file systems may not distinguish A and a
    taken = Counter(name.casefold() for path in whole.values() for name in {str(path), str(path.with_suffix(""))})
    items = []
    for file, path in whole.items():
        item = Item(file, path.with_suffix("").as_posix())
        stem = str(path.with_suffix("")).casefold()
        # the frames of a video are named like images in a folder
        if taken[stem] > 1 or (item.is_video and stem in folders):
            item = Item(file, path.as_posix())
        items.append(item)
    return items
