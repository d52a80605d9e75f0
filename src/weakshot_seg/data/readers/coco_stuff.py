"""COCO-Stuff-10K, 171 classes: versions 1.1 and 1.0 as unpacked (labels in MATLAB files), or MaskFormer's PNG masks."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from weakshot_seg.data.checks import LabelFormat
from weakshot_seg.data.readers.official import KnownDataset, Layout, Part
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import reading

REMEDY = "replace it by the original"
VARIABLE = "S"
"""In the MATLAB files, the map of ids."""


def is_mat73(path: Path) -> bool:
    """Whether a file is of MATLAB 7.3: HDF5, with or without MATLAB's own block of 512 bytes before it."""
    with path.open("rb") as file:
        return file.read(10).startswith((b"MATLAB 7.3", b"\x89HDF"))


def read_mat5(path: Path) -> NDArray[np.uint8]:
    """``S`` of a MATLAB 5 file: ids uint8 ``[h, w]`` as stored; a ``DataError`` if it has none."""
    with reading(f"mask {path}", REMEDY):
        return _as_ids(scipy.io.loadmat(path, variable_names=[VARIABLE])[VARIABLE], path)


def read_mat73(path: Path) -> NDArray[np.uint8]:
    """The same of a MATLAB 7.3 (HDF5) file, which stores columns first and needs h5py."""
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{path} is a MATLAB 7.3 file (COCO-Stuff-10K v1.0), which needs h5py: pip install -e '.[coco]'"
        ) from error
    with reading(f"mask {path}", REMEDY), h5py.File(path, "r") as file:
        return _as_ids(np.ascontiguousarray(file[VARIABLE][()].T), path)


def _as_ids(ids: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if ids.ndim != 2 or not ids.size or not 0 <= ids.min() <= ids.max() <= IGNORE:
        raise DataError(
            f"mask {path}: {VARIABLE} has the shape {ids.shape} and ids up to {ids.max() if ids.size else 0}, but a "
            f"map of ids 0 to {IGNORE} was expected: {REMEDY}"
        )
    return ids.astype(np.uint8)


UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
"""Ids of COCO between 1 and 182 that no class of COCO-Stuff has."""
IDS = tuple(i for i in range(1, 183) if i not in UNUSED)
PARTS: dict[Part, str] = {"train": "train", "val": "test"}

PNG = LabelFormat(range(len(IDS)))
V10 = LabelFormat(range(2, 2 + len(IDS)), read=read_mat73)  # 1 is unlabelled; the classes are in the order of v1.1
V11 = LabelFormat(IDS, ignore_label=0, read=read_mat5)
OFFICIAL = (PARTS, "images", "annotations")
LIST = "imageLists/{}.txt"

COCO_STUFF_10K = KnownDataset(
    name="coco_stuff_10k",
    title="COCO-Stuff-10K",
    num_classes=len(IDS),
    layouts=(
        Layout("PNG of MaskFormer", PARTS, "images_detectron2/{}", "annotations_detectron2/{}", PNG),
        Layout("v1.0", *OFFICIAL, V10, LIST, is_mat73),
        Layout("v1.1", *OFFICIAL, V11, LIST),
    ),
)
