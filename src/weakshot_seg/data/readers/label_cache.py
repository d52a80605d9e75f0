"""What is read once of a data set and kept: what its files hold, and labels as PNG where reading them is slow.

A cache is one folder whose name holds a fingerprint of the source, so that a changed source never meets it. It is built
beside its place and moved there when it is whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.data.checks import BadFiles, Survey, survey_files
from weakshot_seg.data.readers.labels import LabelFormat, LabelledFile
from weakshot_seg.errors import DataError

log = logging.getLogger(__name__)

VERSION = 2
"""Changes when caches of earlier versions must not be used."""
SURVEY = "survey.npz"


def cached_labels(
    files: Sequence[LabelledFile], labels: LabelFormat, folder: Path, name: str
) -> tuple[Sequence[LabelledFile], LabelFormat, Survey]:
    """Reads the cache of these files, or builds it: every image and label file is verified once, in parallel.

    Args:
        files: Images and labels.
        labels: How to read the labels.
        folder: Where caches lie; made if absent.
        name: Begins the name of the cache.

    Returns:
        Files whose labels are PNG, how those are read, and what all files hold.

    Raises:
        BadFiles: naming every file that cannot be used; nothing is kept then.
        DataError: the folder cannot be written, or its contents are damaged.
    """
    place = folder / f"{name}-{_fingerprint(files, labels)}"
    if not place.is_dir():
        try:
            _build(files, labels, place)
        except OSError as error:
            reason = error.strerror or str(error).strip().splitlines()[-1]
            raise DataError(
                f"cannot write the cache of labels to {folder} ({reason}): set data.cache_dir to a folder that can be "
                "written"
            ) from error
    survey = _read_survey(place, len(files), labels.num_classes)
    if not labels.is_png:
        files = [replace(file, labels=_copy_of(file, place)) for file in files]
        labels = LabelFormat(range(labels.num_classes))
    return files, labels, survey


def _read_survey(place: Path, images: int, classes: int) -> Survey:
    expected = Survey.zeros(images, classes).arrays()
    try:
        with np.load(place / SURVEY, allow_pickle=False) as content:
            arrays = {key: content[key] for key in expected}
        for key, array in arrays.items():
            if (array.dtype, array.shape) != (expected[key].dtype, expected[key].shape):
                raise ValueError(f"{key} is {array.dtype} {array.shape}")
    except Exception as error:  # broken bytes lead to anything
        raise DataError(f"the cache {place} is damaged ({error or type(error).__name__}): remove it") from error
    return Survey(**arrays)


def _build(files: Sequence[LabelledFile], labels: LabelFormat, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    log.info("reading %d images and their labels once (by one process), kept in %s", len(files), place)
    temporary = place.with_name(f".{place.name}.tmp")
    with FileLock(place.parent / f".{place.name}.lock"):
        if place.is_dir():  # another process was faster
            return
        shutil.rmtree(temporary, ignore_errors=True)  # of a build that was killed
        try:
            temporary.mkdir()
            keep = None if labels.is_png else partial(_save_copy, temporary)
            survey = survey_files(files, labels, f"reading {place.name.rsplit('-', 1)[0]}", keep=keep)
            if survey.problems:
                raise BadFiles(survey.problems)
            np.savez(temporary / SURVEY, allow_pickle=False, **survey.arrays())
            os.replace(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _save_copy(place: Path, file: LabelledFile, label_map: NDArray[np.uint8]) -> None:
    path = _copy_of(file, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map).save(path)


def _copy_of(file: LabelledFile, place: Path) -> Path:
    return place / "labels" / f"{file.name}.png"


def _fingerprint(files: Sequence[LabelledFile], labels: LabelFormat) -> str:
    """Of all that a cache depends on: names, sizes and times of the files, and the meaning of the ids."""
    meaning = (VERSION, labels.is_png, list(labels.stored), labels.ignore_label)
    digest = hashlib.sha256(repr(meaning).encode())
    for file in files:
        try:
            states = [path.stat() for path in (file.image, file.labels) if path is not None]
        except OSError as error:
            raise DataError(f"cannot read {error.filename} ({error.strerror}): replace it by the original") from error
        digest.update(repr((file.name, *((state.st_size, state.st_mtime_ns) for state in states))).encode())
    return digest.hexdigest()[:16]
