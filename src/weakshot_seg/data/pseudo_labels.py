"""Pseudo-labels on disk: the rule, training on them instead of novel masks (method section 7), and how good they are.

A folder holds ``manifest.json`` and an indexed PNG ``labels/<image>.png`` for every training image: base pixels with
their true class, novel pixels as predicted, 255 elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pydantic import TypeAdapter

from weakshot_seg.data.masks import read_mask
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.source import Image, present_classes
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE, Knowledge
from weakshot_seg.utils.files import reading, replacing
from weakshot_seg.utils.tables import first_few

FILE = "manifest.json"
DATA = ("class_names", "novel_classes", "num_images")
"""Fields of a manifest that the training images must agree with."""
KEY = "weakshot_seg"
"""Of the text in a PNG file of pseudo-labels that holds its :func:`agreement_counts`."""
SAMPLES = 16
"""Images whose base pixels are compared with the pseudo-labels before a training."""

Candidates = Literal["all", "image", "novel"]
"""Which classes a prediction on a training image chooses from: ``all`` (method section 7), the ``image``'s own, or its
``novel`` ones (also base ones that its mask does not cover). The first leaves pixels without a label, the last gives
one to all outside the masks."""

Percent = float | None  # None where there is nothing to count


@dataclass(frozen=True)
class Agreement:
    """How predictions and labels agree with what training may know, in percent.

    Attributes:
        base_accuracy: of the predictions on pixels with a base mask; None unless all classes were candidates.
        tag_precision: of the other pixels predicted as novel those whose class is among the image's labels; likewise.
        tags_found: of the image-level labels of novel classes those that got a pixel.
        labelled: of the pixels outside the base masks those that got a class.
    """

    base_accuracy: Percent
    tag_precision: Percent
    tags_found: Percent
    labelled: Percent


@dataclass(frozen=True)
class Quality:
    """IoU of the labels of novel classes in percent, each and mean; a pixel without label counts as missed."""

    novel_iou: Percent
    iou: dict[str, Percent] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a folder of pseudo-labels was made with and how good they are.

    ``quality`` is measured with the true masks, which nothing else reads; ``weights`` is the SHA-256 of the network.
    """

    checkpoint: str
    weights: str
    step: int
    split: int | None
    class_names: tuple[str, ...]
    novel_classes: tuple[str, ...]
    num_images: int
    inference: dict[str, Any]
    val_transform: dict[str, Any]
    candidates: Candidates = "all"
    complete: bool = False
    agreement: Agreement | None = None
    quality: Quality | None = None

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder; a ``DataError`` if there is none of ours."""
        with reading(f"the pseudo-labels in {folder}", f"make them with weakshot pseudo-label ckpt=... out={folder}"):
            return TypeAdapter(cls).validate_json((folder / FILE).read_bytes())

    def write(self, folder: Path) -> None:
        """Writes the file, whole or not at all."""
        with replacing(folder / FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", encoding="utf8")

    def check_same(self, other: Manifest, folder: Path) -> None:
        """Refuses (``ConfigError``) to add labels made in ``other`` ways to ``folder``, which has this manifest."""
        for name in (*DATA, "weights", "inference", "val_transform", "candidates"):
            if getattr(self, name) != getattr(other, name):
                raise ConfigError(
                    f"out={folder} holds pseudo-labels of another {name} (ckpt={self.checkpoint}, step {self.step}): "
                    "give another folder or remove it"
                )

    def check_fits(self, dataset: WeakShotDataset, folder: Path) -> None:
        """Refuses (``DataError``) pseudo-labels that are unfinished, or not of these classes, split and images."""
        if not self.complete:
            raise DataError(
                f"the pseudo-labels in {folder} are unfinished: run weakshot pseudo-label again with the same "
                f"ckpt and out={folder}"
            )
        ours: tuple[Any, ...] = (dataset.split.names, dataset.split.novel_names, len(dataset))
        for name, mine in zip(DATA, ours, strict=True):
            if (theirs := getattr(self, name)) != mine:
                texts = [str(value) if isinstance(value, int) else first_few(value) for value in (theirs, mine)]
                raise DataError(
                    f"the pseudo-labels in {folder} are for other data ({name}: {texts[0]}) than this training "
                    f"({texts[1]}): choose the data and split={self.split} that they were made for, or make them anew"
                )


class PseudoLabels:
    """Training images with pseudo-labels for novel classes; implements ``LabelledImages``, with states.

    The true maps of the images are not used, so nothing of them can leak: base pixels come from the files too.
    A ``DataError`` if they do not fit: see :meth:`Manifest.check_fits`; also if base pixels differ from the masks.

    Where all base classes have masks and the novel ones are known to be there or not (as in the paper), the labels are
    masks of all classes. In other images they are masks of the classes that they show, and of the others no more is
    known than before: what a photo with tags alone does not show may well be there.
    """

    def __init__(self, dataset: WeakShotDataset, folder: str | Path) -> None:
        folder = Path(folder).expanduser()
        Manifest.read(folder).check_fits(dataset, folder)
        self.class_names = dataset.split.names
        self.name = dataset.source.name
        self._images = dataset.source
        self._files = label_files(folder, dataset)
        for index in np.linspace(0, len(dataset) - 1, min(SAMPLES, len(dataset))).astype(int).tolist():
            image, known = dataset.load(index)
            labels = read_mask(self._files[index])
            if labels.shape != image.shape[:2] or (known is not None and (labels != known)[known != IGNORE].any()):
                raise DataError(
                    f"the pseudo-labels in {folder} are for other images: those of {self.name(index)} do not "
                    "have its base masks; choose the data they were made for, or make them anew"
                )
        present = partial(_present, num_classes=len(self.class_names))
        shown = np.array(list(in_parallel(present, self._files, "checking pseudo-labels")))
        states, novel = dataset.knowledge, dataset.split.is_novel().numpy()
        whole = ((states == Knowledge.MASK) | (novel & (states != Knowledge.UNKNOWN))).all(1, keepdims=True)
        self._states = np.where(whole | shown, np.uint8(Knowledge.MASK), states)
        self._presence = shown | (self._states == Knowledge.PRESENT)

    def __len__(self) -> int:
        return len(self._files)

    def load(self, index: int) -> tuple[Image, Image]:
        """The RGB image uint8 ``[h, w, 3]`` and its pseudo-labels uint8 ``[h, w]``."""
        return self._images.load(index)[0], read_mask(self._files[index], verify=False)

    def presence(self) -> NDArray[np.bool_]:
        """Which classes the pseudo-labels of each image show or its tags name: bool ``[len, K]``, a copy."""
        return self._presence.copy()

    def states(self, novel: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """See :func:`~weakshot_seg.data.source.states_of`; for training no class is novel any more."""
        return self._states.copy()


def _present(file: Path, num_classes: int) -> NDArray[np.bool_]:
    return present_classes(read_mask(file), num_classes)


def label_files(folder: Path, dataset: WeakShotDataset) -> list[Path]:
    """The file of each training image's pseudo-labels; a ``DataError`` if two images have one name."""
    names = [dataset.source.name(index) for index in range(len(dataset))]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two training images are named {twice}: pseudo-labels need names that differ")
    return [folder / "labels" / f"{name.lstrip('/')}.png" for name in names]


def candidate_classes(dataset: WeakShotDataset, candidates: Candidates) -> NDArray[np.bool_]:
    """The classes to choose from in each training image: bool ``[len, K]``, by what training may know.

    Classes of which an image says nothing may be there or not: these can be chosen, too.
    """
    if candidates not in get_args(Candidates):
        raise ConfigError(f"unknown candidates '{candidates}': use one of {', '.join(get_args(Candidates))}")
    if candidates == "all":
        return np.ones_like(dataset.known)
    has_mask = (dataset.knowledge == Knowledge.MASK).any(1, keepdims=True)
    unlabelled = np.isin(dataset.knowledge, (Knowledge.PRESENT, Knowledge.UNKNOWN))
    outside = has_mask & unlabelled.any(1, keepdims=True) & (candidates == "novel")
    allowed = np.where(outside, unlabelled, dataset.known | unlabelled)
    return allowed | ~allowed.any(1, keepdims=True)  # of an image that shows nothing, any: no label will come of it


def pseudo_map(predicted: Image, known: Image, states: NDArray[np.uint8]) -> Image:
    """The rule of the method: pixels with a mask keep their class, others take a predicted class that is a tag.

    These are the novel classes of the image, and base classes that its mask does not cover.

    Args:
        predicted: uint8 ``[h, w]``, ids 0..K-1.
        known: uint8 ``[h, w]``, ids of classes with masks and ``IGNORE``.
        states: uint8 ``[K]``, the ``Knowledge`` that training has of each class.
    """
    taken = np.where((states == Knowledge.PRESENT)[predicted], predicted, np.uint8(IGNORE))
    return np.where(known != IGNORE, known, taken)


def agreement_counts(
    predicted: Image, labels: Image, known: Image, tags: NDArray[np.bool_], is_novel: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Part and whole of each share in :class:`Agreement`, of one image.

    ``labels`` are the pseudo-labels made of the other arguments, see :func:`pseudo_map`.
    """
    base, novel, wanted = known != IGNORE, np.flatnonzero(is_novel), np.flatnonzero(tags & is_novel)
    counts = (
        (base & (predicted == known), base),
        (~base & np.isin(labels, novel), ~base & np.isin(predicted, novel)),
        (np.isin(wanted, labels), np.ones_like(wanted)),
        (~base & (labels != IGNORE), ~base),
    )
    return [(int(part.sum()), int(whole.sum())) for part, whole in counts]


def measure(files: Sequence[Path], dataset: WeakShotDataset, free: bool = True) -> tuple[Agreement, Quality]:
    """Reads the pseudo-labels of all training images, all of ours; ``free``: predictions could be of any class."""
    areas, counts = np.zeros((3, len(dataset.split.novel)), np.int64), np.zeros((4, 2), np.int64)
    for of_image in in_parallel(partial(_count, files, dataset), range(len(files)), "measuring pseudo-labels"):
        areas += of_image[0]
        counts += of_image[1]
    shares = [_percent(part, whole) for part, whole in counts]
    iou = [_percent(hits, true + labelled - hits) if true else None for hits, true, labelled in areas.T]
    known = [value for value in iou if value is not None]
    mean = sum(known) / len(known) if known else None
    quality = Quality(mean, dict(zip(dataset.split.novel_names, iou, strict=True)))
    return Agreement(*(shares if free else [None, None, *shares[2:]])), quality


def _count(files: Sequence[Path], dataset: WeakShotDataset, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of one image: right, true and labelled pixels of the novel classes ``[3, N]``, and its agreement ``[4, 2]``."""
    labels, novel = read_mask(files[index]), list(dataset.split.novel)
    remedy = "remove it, and call weakshot pseudo-label again"
    with reading(f"the counts in {files[index]}", remedy), PIL.Image.open(files[index]) as file:
        counts = np.array(json.loads(file.info[KEY]), dtype=np.int64).reshape(4, 2)
    truth = dataset.source.load(index)[1]
    if truth is None:
        return np.zeros((3, len(novel)), np.int64), counts
    counted = truth != IGNORE
    areas = (truth[counted & (truth == labels)], truth[counted], labels[counted])
    return np.stack([np.bincount(ids, minlength=IGNORE + 1)[novel] for ids in areas]), counts


def _percent(part: int, whole: int) -> Percent:
    return float(100 * part / whole) if whole else None
