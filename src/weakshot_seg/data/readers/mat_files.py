"""Label maps in MATLAB files: the variable ``S`` of COCO-Stuff."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

VARIABLE = "S"


def is_mat73(path: Path) -> bool:
    """Whether a file is of MATLAB 7.3: HDF5, with or without MATLAB's own block of 512 bytes before it."""
    with path.open("rb") as file:
        return file.read(10).startswith((b"MATLAB 7.3", b"\x89HDF"))


def read_mat5(path: Path) -> NDArray[np.uint8]:
    """``S`` of a MATLAB 5 file: ids uint8 ``[h, w]`` as stored.

    Raises:
        DataError: the file is missing, broken or of another version, has no such variable, or ids above 255.
    """
    with _naming(path):
        return _as_ids(scipy.io.loadmat(path, variable_names=[VARIABLE])[VARIABLE], path)


def read_mat73(path: Path) -> NDArray[np.uint8]:
    """``S`` of a MATLAB 7.3 (HDF5) file, which stores columns first: ids uint8 ``[h, w]`` as stored.

    Raises:
        DataError: as above; h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{path} is a MATLAB 7.3 file (COCO-Stuff-10K v1.0), which needs h5py: pip install -e '.[coco]'"
        ) from error
    with _naming(path), h5py.File(path, "r") as file:
        return _as_ids(np.ascontiguousarray(file[VARIABLE][()].T), path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # broken bytes lead to anything: TypeError, zlib.error, MemoryError, ...
        text = str(error) if isinstance(error, KeyError) else (getattr(error, "strerror", None) or str(error))
        reason = f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
        raise DataError(f"cannot read mask {path} ({reason}): replace it by the original") from error


def _as_ids(ids: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if ids.ndim != 2 or not ids.size or not 0 <= ids.min() <= ids.max() <= IGNORE:
        raise DataError(
            f"mask {path}: {VARIABLE} has the shape {ids.shape} and ids up to {ids.max() if ids.size else 0}, but a "
            f"map of ids 0 to {IGNORE} was expected: replace it by the original"
        )
    return ids.astype(np.uint8)
