"""What is read once of a data set and kept: the classes of each image, and labels as PNG where reading them is slow.

A cache is one folder whose name holds a fingerprint of the source, so that a changed source never meets it. It is built
beside its place and moved there when it is whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.data.checks import Inspection, inspect
from weakshot_seg.data.images import read_mask
from weakshot_seg.data.readers.label_files import LabelFormat, LabelIds, LabelledFile
from weakshot_seg.errors import DataError

log = logging.getLogger(__name__)

VERSION = 1
"""Changes when caches of earlier versions must not be used."""
PRESENCE = "presence.npy"
LABELS = "labels"


@dataclass(frozen=True)
class CachedLabels:
    """Files whose labels are quick to read.

    Attributes:
        files: Images and labels.
        format: How the labels are read.
        presence: bool ``[len(files), K]``, which classes each image shows.
    """

    files: Sequence[LabelledFile]
    format: LabelFormat
    presence: NDArray[np.bool_]


def cached_labels(
    files: Sequence[LabelledFile], labels: LabelFormat, copied: bool, folder: Path, name: str
) -> CachedLabels:
    """Reads the cache of these files, or builds it: every image and label file is decoded once, in parallel.

    Args:
        files: Images and labels.
        labels: How to read the labels.
        copied: Keep the maps of class ids as PNG, and read those from now on.
        folder: Where caches lie; made if absent.
        name: Begins the name of the cache.

    Raises:
        BadFiles: naming every file that cannot be used; nothing is kept then.
        DataError: the folder cannot be written, or its contents are damaged.
    """
    place = folder / f"{name}-{_fingerprint(files, labels, copied)}"
    if not place.is_dir():
        try:
            _build(files, labels, copied, place)
        except OSError as error:
            reason = error.strerror or str(error).strip().splitlines()[-1]
            raise DataError(
                f"cannot write the cache of labels to {folder} ({reason}): set data.cache_dir to a folder that can be "
                "written"
            ) from error
    presence = _read_presence(place, (len(files), labels.ids.num_classes))
    if copied:
        files = [replace(file, labels=_copy_of(file, place)) for file in files]
        labels = LabelFormat(read_mask, LabelIds.contiguous(labels.ids.num_classes))
    return CachedLabels(files, labels, presence)


def _read_presence(place: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        with (place / PRESENCE).open("rb") as file:
            presence = np.lib.format.read_array(file, allow_pickle=False)
        if presence.shape != shape or presence.dtype != bool:
            raise ValueError(f"{PRESENCE} holds {presence.dtype} {presence.shape} instead of bool {shape}")
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise DataError(f"the cache {place} is damaged ({error}): remove it") from error
    return presence


def _build(files: Sequence[LabelledFile], labels: LabelFormat, copied: bool, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.parent / f".{place.name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("waiting for the process that builds %s", place)
        lock.acquire()
    try:
        if place.is_dir():  # another process was faster
            return
        log.info("reading %d images and their labels once, kept in %s", len(files), place)
        temporary = place.with_name(f".{place.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # of a build that was killed
        try:
            (temporary / LABELS).mkdir(parents=True)
            keep = _Copies(temporary) if copied else None
            presence = inspect(Inspection(files, labels, True, keep), f"reading {place.name.rsplit('-', 1)[0]}")
            np.save(temporary / PRESENCE, presence)
            os.replace(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        lock.release()


@dataclass(frozen=True)
class _Copies:
    """Saves maps of class ids in a cache."""

    place: Path

    def __call__(self, file: LabelledFile, label_map: NDArray[np.uint8]) -> None:
        path = _copy_of(file, self.place)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label_map).save(path)


def _copy_of(file: LabelledFile, place: Path) -> Path:
    return place / LABELS / f"{file.name}.png"


def _fingerprint(files: Sequence[LabelledFile], labels: LabelFormat, copied: bool) -> str:
    """Of all that a cache depends on: names, sizes and times of the files, and the meaning of the ids."""
    digest = hashlib.sha256(f"{VERSION} {copied} {labels.ids.num_classes}".encode())
    digest.update(labels.ids.classes.tobytes() + labels.ids.known.tobytes())
    for file in files:
        try:
            states = [path.stat() for path in (file.image, file.labels) if path is not None]
        except OSError as error:
            raise DataError(f"cannot read {error.filename} ({error.strerror}): replace it by the original") from error
        digest.update(repr((file.name, *((state.st_size, state.st_mtime_ns) for state in states))).encode())
    return digest.hexdigest()[:16]
