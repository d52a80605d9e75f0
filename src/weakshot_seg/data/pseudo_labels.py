"""Pseudo-labels on disk, and training on them instead of novel masks (method section 7).

A folder holds ``manifest.json`` and an indexed PNG ``labels/<image>.png`` for every training image: base pixels with
their true class, novel pixels as predicted, 255 elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.source import TaggedImages
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.damage import DAMAGE
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import first_few

SAMPLES = 16
"""Images whose base pixels are compared with the pseudo-labels before a training."""


Candidates = Literal["all", "image", "novel"]
"""Which classes a prediction on a training image chooses from: ``all`` (method section 7), the ``image``'s own, or its
``novel`` ones. The first leaves pixels without a label, the last gives one to all outside the base masks."""


@dataclass(frozen=True)
class Manifest:
    """What a folder of pseudo-labels was made with and how good they are.

    Attributes:
        checkpoint: file the predictions are of.
        weights: SHA-256 of its network.
        step: its optimiser steps.
        split: number of the split.
        class_names: ``K`` names.
        novel_classes: names of the novel ones.
        num_images: number of training images.
        inference: settings of the inference.
        val_transform: settings of the resizing.
        candidates: see :data:`Candidates`.
        complete: every image has its labels.
        agreement: with what training may know, see :mod:`~weakshot_seg.data.pseudo_quality`.
        quality: measured with the true masks, which nothing else sees; see there.
    """

    checkpoint: str
    weights: str
    step: int
    split: int
    class_names: Sequence[str]
    novel_classes: Sequence[str]
    num_images: int
    inference: dict[str, Any]
    val_transform: dict[str, Any]
    candidates: str = "all"
    complete: bool = False
    agreement: dict[str, Any] | None = None
    quality: dict[str, Any] | None = None

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises:
            DataError: there is none, or it is not one of ours.
        """
        path = folder / "manifest.json"
        try:
            return cls(**json.loads(path.read_text("utf8")))
        except DAMAGE as error:
            raise DataError(
                f"{folder} holds no pseudo-labels ({path.name}: {type(error).__name__}): make them with "
                f"weakshot pseudo-label ckpt=... out={folder}"
            ) from error

    def write(self, folder: Path) -> None:
        """Writes ``manifest.json``, whole or not at all."""
        with replacing(folder / "manifest.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", encoding="utf8")

    def check(self, folder: Path, dataset: WeakShotDataset) -> None:
        """Refuses pseudo-labels that were not made for these training images.

        Raises:
            DataError: they are unfinished, or of other classes, another split or another number of images.
        """
        if not self.complete:
            raise DataError(
                f"the pseudo-labels in {folder} are unfinished: run weakshot pseudo-label again with the same "
                f"ckpt and out={folder}"
            )
        for what, theirs, ours in (
            ("class names", self.class_names, dataset.split.names),
            ("novel classes", self.novel_classes, dataset.split.novel_names),
        ):
            if list(theirs) != list(ours):
                raise DataError(
                    f"the pseudo-labels in {folder} are for other {what} ({first_few(theirs)}) than this training "
                    f"({first_few(ours)}): choose the data and split they were made for (split={self.split})"
                )
        if self.num_images != len(dataset):
            raise DataError(
                f"the pseudo-labels in {folder} are for {self.num_images} images, but there are {len(dataset)} "
                "training images: make them anew"
            )


class PseudoLabels:
    """Training images with pseudo-labels for novel classes; implements ``LabelledImages``.

    The true maps of the images are not used, so nothing of them can leak: base pixels come from the files too.

    Args:
        dataset: The training images as the first stage sees them.
        folder: See this file's head.

    Raises:
        DataError: see :meth:`Manifest.check`; a file is missing or broken; base pixels differ from the masks.
    """

    def __init__(self, dataset: WeakShotDataset, folder: str | Path) -> None:
        folder = Path(folder).expanduser()
        Manifest.read(folder).check(folder, dataset)
        self.class_names = dataset.split.names
        self._images = dataset.source
        self._files = label_files(folder, dataset)
        self._check_samples(dataset, folder)
        self._presence = np.array(list(in_parallel(self._present, len(dataset), "checking pseudo-labels")))

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """See ``LabelledImages``."""
        return self._images.name(index)

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The RGB image uint8 ``[h, w, 3]`` and its pseudo-labels uint8 ``[h, w]``."""
        return self._images.load(index)[0], read_mask(self._files[index])

    def presence(self) -> NDArray[np.bool_]:
        """Which classes the pseudo-labels of each image show: bool ``[len, K]``, a copy."""
        return self._presence.copy()

    def _present(self, index: int) -> NDArray[np.bool_]:
        seen = np.zeros(IGNORE + 1, dtype=bool)
        seen[read_mask(self._files[index])] = True
        return seen[: len(self.class_names)]

    def _check_samples(self, dataset: WeakShotDataset, folder: Path) -> None:
        for index in np.linspace(0, len(dataset) - 1, min(SAMPLES, len(dataset))).astype(int).tolist():
            _, known = dataset.hidden(index)
            labels = read_mask(self._files[index])
            if labels.shape != known.shape or (labels != known)[known != IGNORE].any():
                raise DataError(
                    f"the pseudo-labels in {folder} are for other images: those of {dataset.source.name(index)} do not "
                    "have its base masks; choose the data they were made for, or make them anew"
                )


class HiddenImages:
    """Training images as they are stored, novel pixels hidden; implements ``LabelledImages``."""

    def __init__(self, dataset: WeakShotDataset) -> None:
        self.class_names = dataset.split.names
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, index: int) -> str:
        """See ``LabelledImages``."""
        return self._dataset.source.name(index)

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]``, of base classes and ``IGNORE``."""
        return self._dataset.hidden(index)

    def presence(self) -> NDArray[np.bool_]:
        """Image-level labels that training may know: bool ``[len, K]``, a copy."""
        return self._dataset.known.copy()


def label_files(folder: Path, dataset: WeakShotDataset) -> list[Path]:
    """The file of each training image's pseudo-labels.

    Raises:
        DataError: two images have one name.
    """
    names = [dataset.source.name(index) for index in range(len(dataset))]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two training images are named {twice}: pseudo-labels need names that differ")
    return [folder / "labels" / f"{name.lstrip('/')}.png" for name in names]


def candidate_classes(dataset: WeakShotDataset, candidates: Candidates) -> NDArray[np.bool_]:
    """The classes to choose from in each training image: bool ``[len, K]``, by what training may know.

    Without a mask, base classes that are not among the tags may be there or not: then these can be chosen, too.

    Raises:
        ConfigError: unknown candidates.
    """
    if candidates not in get_args(Candidates):
        raise ConfigError(f"unknown candidates '{candidates}': use one of {', '.join(get_args(Candidates))}")
    is_novel = dataset.split.is_novel().numpy()
    if candidates == "all":
        return np.ones_like(dataset.known)
    source = dataset.source
    by_mask = dataset.known & ~source.by_tag() if isinstance(source, TaggedImages) else dataset.known
    without_mask = ~(by_mask & ~is_novel).any(1)
    allowed = dataset.known | (without_mask[:, None] & ~is_novel)
    novel = dataset.known & is_novel
    if candidates == "novel":
        outside = novel.any(1) & ~without_mask
        allowed = np.where(outside[:, None], novel, allowed)
    return allowed


def pseudo_map(
    predicted: NDArray[np.uint8], known: NDArray[np.uint8], labels: NDArray[np.bool_], is_novel: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """The rule of the method: base pixels keep their class, others take a predicted novel class the image has.

    In an image without any base mask they also take a base class that the image has by its tags.

    Args:
        predicted: uint8 ``[h, w]``, ids 0..K-1.
        known: uint8 ``[h, w]``, ids of base classes and ``IGNORE``.
        labels: bool ``[K]``, the image-level labels that training may know.
        is_novel: bool ``[K]``.
    """
    is_base = known != IGNORE
    taken = labels & is_novel if is_base.any() else labels
    return np.where(is_base, known, np.where(taken[predicted], predicted, np.uint8(IGNORE)))
