"""Anchors and their reference images (method, section 5): which images make up each training batch.

The pixel-similarity losses compare an anchor with a reference that shares a class. References are found through an
inverted index class -> images, made in memory in O(total labels). Everything is a pure function of (seed, step,
rank): the number of workers, a resumed run and the number of processes change nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import ClassSplit, SampleRequest

RAREST = 0.01
"""Probability that an anchor's class to share is its rarest novel one instead of any (method, section 5)."""
TRIES = 32
"""Random candidates looked at before the whole list of a class is scanned for a deconfounded partner."""

Indices = NDArray[np.integer]


class ReferenceIndex:
    """Finds a reference for an anchor.

    Args:
        presence: bool ``[n, K]``, the image-level labels known to training.
        split: Base and novel classes.
    """

    def __init__(self, presence: NDArray[np.bool_], split: ClassSplit) -> None:
        images, classes = np.divmod(np.flatnonzero(presence), split.num_classes)  # far faster than a 2-D nonzero
        short = classes.astype(np.uint8)  # at most 254 classes; single bytes are sorted in linear time
        self._images = images.astype(np.int32)[short.argsort(kind="stable")]  # grouped by class, ascending within one
        self._bounds = [0, *np.bincount(short, minlength=split.num_classes).cumsum().tolist()]
        self._size = len(presence)
        self._presence = presence
        self._novel = np.array(split.novel, dtype=np.int64)
        self._base = np.array(split.base, dtype=np.int64)

    def reference(self, anchor: int, rng: random.Random) -> int:
        """The partner of ``anchor``, in this order of preference.

        1. For one of the anchor's novel classes, chosen at random: an image whose novel classes meet the anchor's in
           exactly that class ("deconfounded"); failing that, any other image that has it. If no other image has it,
           the same for the anchor's remaining novel classes.
        2. An image that shares a base class chosen at random.
        3. Any other image; the anchor itself only if there is no other.
        """
        row = self._presence[anchor]
        novel = self._novel[row[self._novel]].tolist()
        if rng.random() < RAREST:
            novel.sort(key=self._frequency)
        else:
            novel = _rotated(novel, rng)
        for class_id in novel:
            images = self._with_class(class_id)
            if len(images) > 1:
                return self._deconfounded(anchor, images, [other for other in novel if other != class_id], rng)
        for class_id in _rotated(self._base[row[self._base]].tolist(), rng):
            images = self._with_class(class_id)
            if len(images) > 1:
                return _other(images, anchor, rng)
        if self._size == 1:
            return anchor
        pick = rng.randrange(self._size - 1)
        return pick + (pick >= anchor)

    def _with_class(self, class_id: int) -> Indices:
        return self._images[self._bounds[class_id] : self._bounds[class_id + 1]]

    def _frequency(self, class_id: int) -> int:
        return self._bounds[class_id + 1] - self._bounds[class_id]

    def _deconfounded(self, anchor: int, images: Indices, others: list[int], rng: random.Random) -> int:
        """One of ``images`` that has none of the novel classes ``others``, if there is one: uniform among those."""
        if not others:
            return _other(images, anchor, rng)
        # A few random tries find a common partner, the scan of all a rare one. The anchor has `others`: it never fits.
        tries = [int(rng.random() * len(images)) for _ in range(TRIES)]
        for candidates in (images[tries], images):
            fitting = candidates[~self._presence[candidates[:, None], others].any(1)]
            if len(fitting):
                return int(fitting[rng.randrange(len(fitting))])
        return _other(images, anchor, rng)


def _rotated(classes: list[int], rng: random.Random) -> list[int]:
    """``classes`` from a random one on: each is first equally often."""
    start = rng.randrange(len(classes) or 1)
    return classes[start:] + classes[:start]


def _other(images: Indices, anchor: int, rng: random.Random) -> int:
    """Any of ``images`` (ascending, with the anchor, at least two) but the anchor."""
    # searchsorted would first convert all images to the type of a Python integer
    pick = rng.randrange(len(images) - 1)
    return int(images[pick + (pick >= images.searchsorted(images.dtype.type(anchor)))])


class PairSampler(Sampler[list[SampleRequest]]):
    """Batches of :class:`~weakshot_seg.structures.SampleRequest`, with anchor and reference side by side.

    Images 2i and 2i+1 of a batch are an anchor and its reference; the last of an odd batch is an anchor alone.
    Anchors run through one permutation of the images after another, without dropping any: the anchor at global
    position ``p = (step * world_size + rank) * anchors_per_batch + i`` and all that belongs to it depend on (seed, p)
    alone. So the processes of a distributed run share out the stream of one process, and a resumed run goes on with
    its tail.

    Args:
        presence: bool ``[n, K]``, the image-level labels known to training (never read from masks of novel classes).
        split: Base and novel classes.
        batch_size: Images of a batch in this process.
        num_batches: Batches of the whole run, counted from its very beginning.
        seed: Not negative.
        start_batch: First batch to give, when a run is resumed.
        rank: Number of this process.
        world_size: Number of processes.
        paired: False: anchors only.

    Raises:
        DataError: there are no images.
        ConfigError: a number is out of range.
    """

    def __init__(
        self,
        presence: NDArray[np.bool_],
        split: ClassSplit,
        batch_size: int,
        num_batches: int,
        seed: int,
        start_batch: int = 0,
        rank: int = 0,
        world_size: int = 1,
        paired: bool = True,
    ) -> None:
        if not len(presence):
            raise DataError("there are no training images to draw from: check data.train")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_batches", num_batches, 0),
            ("seed", seed, 0),
            ("start_batch", start_batch, 0),
            ("rank", rank, 0),
            ("world_size", world_size, rank + 1),
        ):
            if value < least:
                raise ConfigError(f"{name} is {value}: at least {least} is needed")
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.start_batch = start_batch
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._size = len(presence)
        self._references = ReferenceIndex(presence, split) if paired else None

    def __len__(self) -> int:
        """Batches of the whole run, also when it is resumed: the trainer counts all of them."""
        return self.num_batches

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        anchors_per_batch = (self.batch_size + 1) // 2 if self._references else self.batch_size
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start_batch, self.num_batches):
            first = (step * self._world_size + self._rank) * anchors_per_batch
            batch: list[SampleRequest] = []
            for position in range(first, first + anchors_per_batch):
                if position // self._size != epoch:
                    epoch = position // self._size
                    order = np.random.default_rng((self._seed, epoch)).permutation(self._size)
                batch += self._draws(position, int(order[position % self._size]))
            yield batch[: self.batch_size]

    def _draws(self, position: int, anchor: int) -> list[SampleRequest]:
        """The anchor at a global position, followed by its reference."""
        rng = random.Random(self._seed << 64 | position)  # made once per pair: far cheaper than a NumPy generator
        draws = [SampleRequest(anchor, rng.getrandbits(63))]
        if self._references is not None:
            draws.append(SampleRequest(self._references.reference(anchor, rng), rng.getrandbits(63)))
        return draws
