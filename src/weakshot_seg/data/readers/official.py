"""Published data sets as downloaded, in any of their layouts: ``data=coco_stuff_10k``, ``ade20k``, ``voc2012``."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.data.checks import BadFiles, LabelFormat, LabelledFile, Survey, survey_files
from weakshot_seg.data.kept_survey import FOLDER
from weakshot_seg.data.readers.files import FileImages, data_folder, listed_files, no_mask, pair_files
from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading

log = logging.getLogger(__name__)

Part = Literal["train", "val"]

VERSION = 3
"""Changes when caches of earlier versions must not be used."""
SURVEY = "survey.npz"


@dataclass(frozen=True)
class Layout:
    """Where images and labels lie, and how labels are stored.

    Attributes:
        parts: What the layout calls the parts that it has; replaces ``{}`` in the paths.
        images: Folder of the images, relative to the root.
        labels: Folder of the labels: PNG, or else ``.mat``.
        names: Text file with the names of the images; None: all files of the folders, paired by name.
        accepts: Whether a label file may be of this layout, asked of one; None: any.
    """

    title: str
    parts: Mapping[Part, str]
    images: str
    labels: str
    format: LabelFormat
    names: str | None = None
    accepts: Callable[[Path], bool] | None = None

    def needs(self, part: Part) -> tuple[str, ...]:
        """What must be in a root of this layout."""
        return tuple(path.format(self.parts[part]) for path in (self.images, self.labels, self.names) if path)

    def fits(self, root: Path, part: Part) -> bool:
        """Whether ``root`` has this layout."""
        if part not in self.parts or not all((root / path).exists() for path in self.needs(part)):
            return False
        labels = (root / self.needs(part)[1]).glob("[!.]*.mat")
        return self.accepts is None or any(map(self.accepts, islice(labels, 1)))

    def files(self, root: Path, part: Part) -> list[LabelledFile]:
        """All files of a part; a ``DataError`` if one is missing."""
        images, labels, *names = (root / path for path in self.needs(part))
        if names:
            return listed_files(names[0], images, labels, ".png" if self.format.is_png else ".mat")
        files, problems = pair_files(images, labels)
        problems += [no_mask(file, labels) for file in files if file.labels is None]
        if problems:
            raise BadFiles(problems)
        return files


@dataclass(frozen=True)
class KnownDataset:
    """A data set, and the layouts in which people have it (the first that fits is taken).

    ``inner`` are folders within the root where it may lie instead, as its archive unpacks.
    """

    name: str
    title: str
    num_classes: int
    layouts: tuple[Layout, ...]
    inner: tuple[str, ...] = ()

    def recognise(self, root: Path, part: Part) -> tuple[Layout, Path]:
        """The layout of ``root``, and the folder it starts from; a ``DataError`` names what was searched for."""
        for folder in (root, *(root / inner for inner in self.inner)):
            for layout in self.layouts:
                if layout.fits(folder, part):
                    return layout, folder
        places = " or ".join(["there", *self.inner])
        wanted = dict.fromkeys(" + ".join(layout.needs(part)) for layout in self.layouts if part in layout.parts)
        raise DataError(
            f"{root.absolute()} does not hold {self.title}: looked {places} for {'; or '.join(wanted)}. Set data.root "
            "to the folder that holds them, or fetch the data with "
            f"scripts/prepare_data.py {self.name} --root DIR --download"
        )


class OfficialImages(FileImages):
    """One part of a data set in any of its layouts.

    At first use every file is read once. What they hold is kept, with labels as PNG where reading them is slow, in a
    folder within ``cache_dir`` (None: ``.weakshot_seg`` in ``root``). A fingerprint of the source in its name ensures
    that a changed source never meets it. It is built beside its place and moved there when it is whole. All that cannot
    be read or written is a ``DataError``.
    """

    def __init__(
        self,
        dataset: KnownDataset,
        root: str | Path,
        part: Part,
        class_names: Sequence[str],
        cache_dir: str | Path | None = None,
    ) -> None:
        root = data_folder(root)
        if len(class_names) != dataset.num_classes:
            raise DataError(
                f"{len(class_names)} class names given, but {dataset.title} has {dataset.num_classes} classes: "
                "correct data.class_names"
            )
        layout, folder = dataset.recognise(root, part)
        files = layout.files(folder, part)
        log.info("%s (%s): %d images for %s", dataset.title, layout.title, len(files), part)
        caches = root / FOLDER if cache_dir is None else Path(cache_dir).expanduser()
        super().__init__(class_names, *_cached(files, layout.format, caches, f"{dataset.name}-{part}"))


def _cached(
    files: Sequence[LabelledFile], labels: LabelFormat, folder: Path, name: str
) -> tuple[Sequence[LabelledFile], LabelFormat, Survey]:
    """Files whose labels are PNG, how those are read, and what all files hold: from the cache, which it may build."""
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
    with reading(f"the cache {place}", "remove it"), np.load(place / SURVEY, allow_pickle=False) as arrays:
        survey = Survey(**arrays)
    if not labels.is_png:
        files = [replace(file, labels=place / "labels" / f"{file.name}.png") for file in files]
        labels = LabelFormat(range(len(labels.stored)))
    return files, labels, survey


def _build(files: Sequence[LabelledFile], labels: LabelFormat, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    log.info("reading %d images and their labels once (by one process), kept in %s", len(files), place)
    with FileLock(place.parent / f".{place.name}.lock"):
        if place.is_dir():  # another process was faster
            return
        temporary = place.with_name(f".{place.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)  # of a build that was killed
        try:
            temporary.mkdir()
            keep = None if labels.is_png else partial(_save_copy, temporary / "labels")
            survey = survey_files(files, labels, f"reading {place.name.rsplit('-', 1)[0]}", keep=keep)
            if survey.problems:
                raise BadFiles(survey.problems)
            arrays = {name: value for name, value in vars(survey).items() if isinstance(value, np.ndarray)}
            np.savez(temporary / SURVEY, allow_pickle=False, **arrays)
            os.replace(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _save_copy(place: Path, file: LabelledFile, label_map: NDArray[np.uint8]) -> None:
    path = place / f"{file.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map).save(path)


def _fingerprint(files: Sequence[LabelledFile], labels: LabelFormat) -> str:
    """Of all that a cache depends on: names, sizes and times of the files, and the meaning of the ids."""
    digest = hashlib.sha256(repr((VERSION, labels.is_png, list(labels.stored), labels.ignore_label)).encode())
    for file in files:
        with reading(f"{file.image} or {file.labels}", "replace it by the original"):
            states = [path.stat() for path in (file.image, file.labels) if path is not None]
        digest.update(repr((file.name, *((state.st_size, state.st_mtime_ns) for state in states))).encode())
    return digest.hexdigest()[:16]
