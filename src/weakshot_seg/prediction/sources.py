"""What to predict: files, folders, glob patterns and lists of paths, and a name for the results of each."""

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from weakshot_seg.data.find_files import files_below, files_matching
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.records import MANIFEST, VIDEO_SUFFIXES, Item, is_result
from weakshot_seg.utils.tables import first_few

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
LONGEST = 250
"""Bytes of a name to which .json can be added: file systems take 255."""


class LeftOut(list[Path]):
    """Files in folders and patterns that are neither images nor videos by their suffixes."""

    def __str__(self) -> str:
        """In a line: how many of each suffix, and the first of them."""
        kinds = Counter(path.suffix.lower() or "without suffix" for path in self).most_common()
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds[:5]) + (", ..." if len(kinds) > 5 else "")
        return f"{len(self)} other files are left out ({counts}): {first_few([str(path) for path in sorted(self)])}"


def find_items(sources: Sequence[str], setting: str = "source", left_out: list[Path] | None = None) -> list[Item]:
    """Images and videos, each once, in the order of the sources; those of a folder or pattern sorted by path.

    Results keep the folders of their images: names are paths below the deepest folder that all sources share. Where two
    would differ in the suffix alone (``a.jpg``, ``a.png``), it stays in the name.

    A source is a file, a folder (with all in it), a glob pattern (``**``: any folders), or ``-``: paths on standard
    input, one per line or separated by NUL. What is hidden (``.name``) is left out, unless it is named itself; results
    of predictions are, and what is neither image nor video by its suffix, which is added to ``left_out``. Listed paths
    that do not exist are items: whoever reads them reports it.

    Raises:
        DataError: a source, of the ``setting`` to be named, holds nothing.
        ConfigError: a source is itself a result.
    """
    found: dict[Path, Path] = {}  # file -> the folder that it was found in
    others = LeftOut()
    for source in sources:
        files = _listed(others) if source == "-" else _named(source, setting, others)
        if not files:
            reason = f"no such file, or no images and videos ({', '.join(sorted(SUFFIXES))}) there"
            reason += f"; {others}" if others else ""
            raise DataError(f"{setting}={source}: {'no paths on standard input' if source == '-' else reason}")
        found |= {file: folder for file, folder in files.items() if file not in found}
    if left_out is not None:
        left_out += dict.fromkeys(path for path in others if path not in found)
    return _with_names(found)


def _named(source: str, setting: str, others: list[Path]) -> dict[Path, Path]:
    path = Path(os.path.abspath(os.path.expanduser(source)))
    if path.is_dir():
        return _in_folder(path, others)
    if not path.is_file():
        folder = next(parent for parent in path.parents if parent.exists())  # brackets in its name are no pattern
        pattern = Path(glob.escape(str(folder)), path.relative_to(folder))
        return _kept(files_matching(pattern), folder, others)
    if is_result(path):
        raise ConfigError(f"{setting}={source} is itself a result: name another folder for new ones (out=...)")
    return {path: path.parent}


def _listed(others: list[Path]) -> dict[Path, Path]:
    content = sys.stdin.buffer.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    found: dict[Path, Path] = {}
    for path in (Path(os.path.abspath(os.fsdecode(name))) for name in names if name.strip()):
        found |= _in_folder(path, others) if path.is_dir() else {} if is_result(path) else {path: path.parent}
    return found


def _in_folder(folder: Path, others: list[Path]) -> dict[Path, Path]:
    return _kept((path for path in files_below(folder) if not path.name.startswith(".")), folder, others)


def _kept(paths: Iterable[Path], folder: Path, others: list[Path]) -> dict[Path, Path]:
    kept = {}
    for path in paths:
        if is_result(path) or path.name == MANIFEST:
            continue
        if path.suffix.lower() in SUFFIXES:
            kept[path] = folder
        else:
            others.append(path)
    return kept


def _with_names(found: dict[Path, Path]) -> list[Item]:
    shared = os.path.commonpath(list(found.values()))
    items = [Item(file, _short(PurePath(os.path.relpath(file, shared)).as_posix())) for file in found]  # with suffixes
    stems = [_short(os.path.splitext(item.name)[0]) for item in items]
    # file systems may not distinguish A and a; the frames of a video are named like images in a folder
    folders = {folder.as_posix().casefold() for item in items for folder in PurePath(item.name).parents}
    taken = Counter(name.casefold() for item, stem in zip(items, stems, strict=True) for name in {item.name, stem})
    return [
        item if taken[stem.casefold()] > 1 or (item.is_video and stem.casefold() in folders) else Item(item.path, stem)
        for item, stem in zip(items, stems, strict=True)
    ]


def _short(name: str) -> str:
    """A name whose last part leaves room for the suffixes of results; one that is cut ends with a hash of the whole."""
    folder, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) <= LONGEST:
        return name
    digest = hashlib.sha256(os.fsencode(last)).hexdigest()[:8]
    cut = os.fsencode(last)[: LONGEST - len(digest) - 1].decode(errors="ignore")  # no part of a character
    return f"{folder}{slash}{cut}~{digest}"
