"""From two sources of labelled images to training and validation batches."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from weakshot_seg.data.evaluation import EvalDataset, EvalSample
from weakshot_seg.data.images import MAX_PIXELS
from weakshot_seg.data.pairing import PairSampler, repeat_masks
from weakshot_seg.data.parallel import num_cpus
from weakshot_seg.data.pseudo_labels import PseudoLabels
from weakshot_seg.data.readers.files import FolderImages, Verify
from weakshot_seg.data.readers.official import KnownDataset, OfficialImages
from weakshot_seg.data.remarks import remarks
from weakshot_seg.data.set_aside import SetAside
from weakshot_seg.data.source import Image, LabelledImages, Selection, by_tag, states_of, tag_only_classes
from weakshot_seg.data.splits import DEFAULT_RATIO, make_split
from weakshot_seg.data.tag_checks import mostly_tagged
from weakshot_seg.data.tags import FILE as TAGS
from weakshot_seg.data.weak_labels import Augmentation, LabelScope, Supervision, WeakShotDataset
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, WeakBatch, WeakSample
from weakshot_seg.utils.ranges import BelowOne, Count, LabelId, NonNegativeInt, PositiveShare, Workers
from weakshot_seg.utils.signals import leave_signals_to_parent

T = TypeVar("T")

log = logging.getLogger(__name__)


class WeakShotDataModule(pl.LightningDataModule):
    """Weak-shot training batches and evaluation batches of one data set and one split of its classes.

    Training is a single pass of ``max_steps * accumulate`` batches (see
    :class:`~weakshot_seg.data.pairing.PairSampler`), so that a resumed run goes on exactly where it stopped: set
    ``use_distributed_sampler=False`` on a trainer with several devices.

    Args:
        train: Makes the training images when they are needed.
        val: Makes the validation images when they are needed; None: there are none.
        split: Its number; the next five: see :func:`~weakshot_seg.data.splits.make_split`. All others are explained in
            ``conf/data``.
        label_scope: See :data:`~weakshot_seg.data.weak_labels.LabelScope`.
        supervision: See :data:`~weakshot_seg.data.weak_labels.Supervision`.
        max_steps: Optimiser steps of the whole training, of ``accumulate`` batches each.
        pseudo_labels: Folder of pseudo-labels, whose novel masks training takes for true ones; see
            :class:`~weakshot_seg.data.pseudo_labels.PseudoLabels`.
    """

    def __init__(
        self,
        train: Callable[[], LabelledImages],
        val: Callable[[], LabelledImages] | None,
        train_transform: Augmentation,
        val_transform: Callable[[Image], Image],
        split: int,
        novel_ratio: PositiveShare = DEFAULT_RATIO,
        split_seed: int | None = None,
        novel_classes: Sequence[str] | None = None,
        split_file: str | None = None,
        published: str | None = None,
        label_scope: LabelScope = "image",
        supervision: Supervision = "weakshot",
        pairing: bool = True,
        batch_size: Count = 8,
        val_batch_size: Count = 8,
        num_workers: Workers | None = None,
        max_steps: Count = 1000,
        accumulate: Count = 1,
        seed: NonNegativeInt = 0,
        drop_unlabelled: bool = True,
        mask_share: BelowOne = 0.0,
        pseudo_labels: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.make_train, self.make_val, self.split = train, val, split
        self._train_transform, self._val_transform = train_transform, val_transform
        lists = {"novel_classes": novel_classes, "split_file": split_file, "published": published}
        self._split_settings: dict[str, Any] = {"novel_ratio": novel_ratio, "seed": split_seed, **lists}
        self._label_scope, self._supervision, self._pairing = label_scope, supervision, pairing
        self._batch_size, self._num_batches, self._accumulate = batch_size, max_steps * accumulate, accumulate
        self._val_batch_size = val_batch_size
        self._num_workers = min(4, num_cpus() - 1) if num_workers is None else num_workers
        self._seed, self._drop_unlabelled, self._pseudo_labels = seed, drop_unlabelled, pseudo_labels
        self._mask_share = mask_share
        self.set_aside: SetAside | None = None  # what both parts come from, where there is no validation folder
        self.model_split: ClassSplit | None = None  # of a model for these data: taken in place of the settings' split
        self._train: WeakShotDataset | None = None
        self._val: LabelledImages | None = None
        self._source: LabelledImages | None = None
        self._class_split: ClassSplit | None = None

    @classmethod
    def from_folders(
        cls,
        root: str | Path,
        *,
        tags: str | None = None,
        train_images: str = "images/training",
        train_annotations: str = "annotations/training",
        val_images: str = "images/validation",
        val_annotations: str = "annotations/validation",
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: LabelId = 0,
        ignore_label: LabelId = IGNORE,
        verify: Verify = True,
        max_pixels: Count = MAX_PIXELS,
        val_fraction: BelowOne = 0.0,
        val_seed: NonNegativeInt = 0,
        val_photos: Sequence[str] | str | None = None,
        **settings: Any,
    ) -> Self:
        """The data module of photos and masks in folders, see :class:`~weakshot_seg.data.readers.files.FolderImages`.

        Folders are relative to ``root``; those of validation may be missing: then training photos are set aside
        instead, see :class:`~weakshot_seg.data.set_aside.SetAside`. ``tags`` is a CSV file of the image-level labels of
        the training images; None: ``tags.csv``, if there is one. ``settings`` are those of the class.
        """
        ids = partial(FolderImages, label_offset=label_offset, ignore_label=ignore_label, max_pixels=max_pixels)
        images = partial(ids, root, class_names=class_names, verify=verify)
        root = Path(root).expanduser()
        if tags is None and os.path.lexists(root / TAGS):  # a broken link or a folder is an error when it is read
            tags = TAGS
        train = partial(images, images=train_images, annotations=train_annotations, tags=tags)
        val_masks = val_annotations if (root / val_annotations).is_dir() else None
        val = partial(images, images=val_images, annotations=val_masks)
        if not root.is_dir() or (root / val_images).is_dir():
            return cls(train, val, **settings)
        if not (val_photos or (val_fraction and val_photos is None)):
            return cls(train, None, **settings)
        parts = SetAside(train, val_fraction, val_seed, val_photos)
        data = cls(parts.training, parts.validation, **settings)
        data.set_aside = parts
        return data

    @classmethod
    def from_official(
        cls,
        dataset: KnownDataset,
        root: str | Path,
        class_names: Sequence[str],
        *,
        cache_dir: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """The data module of a published data set as downloaded.

        See :class:`~weakshot_seg.data.readers.official.OfficialImages`; ``settings`` are those of the class.
        """
        images = partial(OfficialImages, dataset, root, class_names=class_names, cache_dir=cache_dir)
        return cls(partial(images, part="train"), partial(images, part="val"), **settings)

    def setup(self, stage: str | None = None) -> None:
        """Makes what ``stage`` needs, once: "fit" (also None) both parts, anything else the validation images only."""
        fitting = stage in ("fit", None)
        starting = fitting and self._train is None
        if starting:
            self._train = self._training_images()
        if self._val is None and self.make_val is not None:
            val = self.make_val()
            self._check_names(val)
            self._class_split = self._class_split or self.split_classes(val)
            self._val, self.make_val = (val, self.make_val) if len(val) else (None, None)
        if self._val is None and not fitting:
            raise DataError("there are no validation images: add them, or set data.val_images to their folder")
        if starting:
            if self.set_aside:
                log.info("%s", self.set_aside)
            for remark in self.remarks(_made(self._source), self.train_dataset.known, self.class_split, self._val):
                log.warning("%s", remark)

    def _training_images(self) -> WeakShotDataset:
        source = self.make_train()
        self._source = self.set_aside.whole if self.set_aside else source
        self._check_names(source)
        self._class_split = self.split_classes(source)
        if tag_only := tag_only_classes(source):
            log.info("classes with tags and without a single mask: %s", ", ".join(tag_only))
        dataset = self.weak_dataset(source, self._class_split)
        labelled = dataset.known.any(1)
        if self._supervision == "weakshot":  # what is not in an image is a label, too, where other classes are open
            states = dataset.knowledge
            labelled |= (states == Knowledge.ABSENT).any(1) & (states == Knowledge.UNKNOWN).any(1)
        kept = np.flatnonzero(labelled)
        if self._drop_unlabelled and len(kept) < len(source):
            counts = len(source) - len(kept), len(source)
            log.warning("%d of %d training images have no label and are left out", *counts)
            if not len(kept):
                raise DataError("no training image has a label: check the masks and the split")
            dataset = self.weak_dataset(Selection(source, kept), self._class_split)
        if not self._pseudo_labels:
            return dataset
        if self._supervision != "weakshot":
            raise ConfigError(f"pseudo_labels need supervision=weakshot, not {self._supervision}")
        labels = PseudoLabels(dataset, self._pseudo_labels)
        kept = np.flatnonzero(labels.presence().any(1))
        log.info("%d of %d training images have masks, pseudo-labels or tags", len(kept), len(labels))
        none_novel = ClassSplit(dataset.split.names, ())
        return WeakShotDataset(Selection(labels, kept), none_novel, self._train_transform)

    def _check_names(self, source: LabelledImages) -> None:
        if self._class_split is not None and self._class_split.names != tuple(source.class_names):
            pairs = zip(self._class_split.names, source.class_names, strict=False)
            differ = next((f"'{a}' and '{b}'" for a, b in pairs if a != b), "their number")
            raise DataError(
                f"training and validation images have different class names ({differ}): give both the same list"
            )

    def split_classes(self, source: LabelledImages, split: int | None = None) -> ClassSplit:
        """Base and novel classes of a source, for the split of the settings or another number."""
        if split is None and self.model_split and self.model_split.names == tuple(source.class_names):
            return self.model_split
        number, tag_only = self.split if split is None else split, tag_only_classes(source)
        return make_split(source.class_names, number, tag_only=tag_only, **self._split_settings)

    def remarks(
        self, train: LabelledImages, known: NDArray[np.bool_], split: ClassSplit, val: LabelledImages | None
    ) -> list[str]:
        """What is suspicious about the data, see :func:`~weakshot_seg.data.remarks.remarks`."""
        return remarks(split, known, train, val, self.draws_classes(train))

    def draws_classes(self, train: LabelledImages) -> bool:
        """Whether nothing says which classes of a user's data are novel, so that they are drawn at random."""
        named = any(self._split_settings[name] for name in ("split_file", "published"))
        named |= self._split_settings["novel_classes"] is not None or bool(tag_only_classes(train))
        return isinstance(train, FolderImages) and self._supervision != "full" and not named

    def file_digests(self) -> dict[str, str]:
        """What shows whether training files have changed, by name of the image; empty if there are no files."""
        return getattr(_made(self._source), "digests", dict[str, str])()

    def weak_dataset(self, source: LabelledImages, split: ClassSplit) -> WeakShotDataset:
        """The images of a source as training sees them; a DataError if the split contradicts their tags."""
        states = states_of(source, np.zeros(len(source.class_names), dtype=bool))
        tagged, shown = by_tag(source), source.presence() & ~by_tag(source)
        if problem := mostly_tagged(split.names, split.base, tagged, shown, states == Knowledge.MASK):
            raise DataError(problem)
        return WeakShotDataset(source, split, self._train_transform, self._label_scope, self._supervision)

    @property
    def class_split(self) -> ClassSplit:
        """Base and novel classes, after :meth:`setup`."""
        return _made(self._class_split)

    @property
    def train_dataset(self) -> WeakShotDataset:
        """The training images as training sees them, after ``setup("fit")``."""
        return _made(self._train)

    @property
    def max_classes_per_image(self) -> int:
        """Most classes with a label in one training image: the model needs at least as many queries."""
        return int(self.train_dataset.known.sum(1).max())

    def train_dataloader(self) -> DataLoader[WeakSample]:
        """All batches of the run, or those left of it when it is resumed (``WeakBatch``)."""
        dataset = self.train_dataset
        # The trainer has read its checkpoint by now. It does not skip the batches of the interrupted pass itself, and
        # warns that a loader without state cannot be resumed; ours needs no state.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
        stream = dataset.known, dataset.split, self._batch_size, self._num_batches, self._seed
        start = self.trainer.global_step * self._accumulate if self.trainer else 0
        anchors = repeat_masks((dataset.knowledge == Knowledge.MASK).any(1), self._mask_share, self._seed)
        sampler = PairSampler(*stream, start, *self._process, self._pairing, anchors)
        collate = partial(WeakBatch.collate, novel=dataset.split.is_novel(), paired=self._pairing)
        return self._loader(dataset, batch_sampler=sampler, collate_fn=collate)

    def whole_images(self, indices: Sequence[int], candidates: NDArray[np.bool_]) -> DataLoader[EvalSample]:
        """Some training images without augmentation, in order, their novel pixels hidden (lists of ``EvalSample``).

        ``candidates`` are the classes that may be predicted in each training image: bool ``[len, K]``.
        """
        source = Selection(self.train_dataset, indices)
        dataset = EvalDataset(source, self._val_transform, candidates=candidates[indices])
        return self._loader(dataset, batch_size=self._val_batch_size, collate_fn=list)

    def val_dataloader(self) -> DataLoader[EvalSample]:
        """All validation images in order, every ``world_size``-th on each process (lists of ``EvalSample``)."""
        rank, world_size = self._process
        dataset = EvalDataset(_made(self._val), self._val_transform, world_size)
        sampler: DistributedSampler[EvalSample] = DistributedSampler(dataset, world_size, rank, shuffle=False)
        return self._loader(dataset, batch_size=self._val_batch_size, sampler=sampler, collate_fn=list)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Moves a training batch; images for evaluation are moved one by one, and their true maps stay."""
        return batch.to(device, non_blocking=True) if isinstance(batch, WeakBatch) else batch

    @property
    def _process(self) -> tuple[int, int]:
        """Number of this process and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self._num_workers,
            worker_init_fn=leave_signals_to_parent,
            persistent_workers=self._num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )


def _made(part: T | None) -> T:
    if part is None:
        raise RuntimeError('call setup() before using a data module, with "fit" for its training images')
    return part
