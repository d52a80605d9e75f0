"""Anchors and their reference images (method, section 5): which images make up each training batch.

The pixel-similarity losses compare an anchor with a reference that shares a class. Everything is a pure function of
(seed, step, rank): the number of workers, a resumed run and the number of processes change nothing.
"""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from weakshot_seg.errors import DataError
from weakshot_seg.structures import ClassSplit, SampleRequest

RAREST = 0.01
"""Probability that an anchor's class to share is its rarest novel one instead of any (method, section 5)."""
TRIES = 32
"""Random candidates before the whole list of a class is scanned for a deconfounded partner."""


class ReferenceIndex:
    """Finds a reference for an anchor by ``presence``: bool ``[n, K]``, the image-level labels known to training."""

    def __init__(self, presence: NDArray[np.bool_], split: ClassSplit) -> None:
        self._presence = presence
        self._novel, self._base = split.novel, split.base
        self._images = [np.flatnonzero(column) for column in presence.T]  # of each class, ascending

    def reference(self, anchor: int, rng: random.Random) -> int:
        """The partner of ``anchor``, in this order of preference.

        1. For one of the anchor's novel classes, chosen at random: an image whose novel classes meet the anchor's in
           exactly that class ("deconfounded"); failing that, any other image that has it. If no other image has it,
           the same for the anchor's remaining novel classes.
        2. An image that shares a base class chosen at random.
        3. Any other image; the anchor itself only if there is no other.
        """
        row = self._presence[anchor]
        novel = [c for c in self._novel if row[c]]
        if rng.random() < RAREST:
            novel.sort(key=lambda c: len(self._images[c]))
        else:
            novel = _rotated(novel, rng)
        for class_id in novel:
            if len(self._images[class_id]) > 1:
                return self._deconfounded(anchor, class_id, [c for c in novel if c != class_id], rng)
        for class_id in _rotated([c for c in self._base if row[c]], rng):
            if len(self._images[class_id]) > 1:
                return self._other(anchor, class_id, rng)
        if len(self._presence) == 1:
            return anchor
        pick = rng.randrange(len(self._presence) - 1)
        return pick + (pick >= anchor)

    def _deconfounded(self, anchor: int, class_id: int, others: list[int], rng: random.Random) -> int:
        """An image with the class that has none of the novel classes ``others``, if any: uniform among those."""
        if not others:
            return self._other(anchor, class_id, rng)
        images = self._images[class_id]
        # A few random tries find a common partner, the scan of all a rare one. The anchor has `others`: it never fits.
        tries = [int(rng.random() * len(images)) for _ in range(TRIES)]
        for candidates in (images[tries], images):
            fitting = candidates[~self._presence[candidates[:, None], others].any(1)]
            if len(fitting):
                return int(fitting[rng.randrange(len(fitting))])
        return self._other(anchor, class_id, rng)

    def _other(self, anchor: int, class_id: int, rng: random.Random) -> int:
        """Any image with the class but the anchor, which is one of at least two."""
        images = self._images[class_id]
        pick = rng.randrange(len(images) - 1)
        return int(images[pick + (pick >= images.searchsorted(anchor))])


def _rotated(classes: list[int], rng: random.Random) -> list[int]:
    """``classes`` from a random one on: each is first equally often."""
    start = rng.randrange(len(classes) or 1)
    return classes[start:] + classes[:start]


def repeat_masks(with_mask: NDArray[np.bool_], share: float, seed: int) -> NDArray[np.int64]:
    """All images, those with masks equally often so that they are at least a share of all (ours, not the paper's).

    Where few of the images have masks, a batch would seldom see one. ``with_mask`` is bool ``[n]``, ``share`` below 1;
    int64 ``[m]``, each image without a mask once.
    """
    masks, others = np.flatnonzero(with_mask), np.flatnonzero(~with_mask)
    number = round(len(others) * share / (1 - share))
    if not len(masks) or len(masks) >= number:
        return np.arange(len(with_mask))
    return np.concatenate([np.resize(np.random.default_rng(seed).permutation(masks), number), others])


class PairSampler(Sampler[list[SampleRequest]]):
    """Batches in which images 2i and 2i+1 are an anchor and its reference; the last of an odd batch is an anchor alone.

    Anchors run through one permutation of ``anchors`` after another, without dropping any: the anchor at global
    position ``p = (step * world_size + rank) * anchors_per_batch + i`` and all that belongs to it depend on (seed, p)
    alone. So the processes of a distributed run share out the stream of one process, and a resumed run goes on with
    its tail.

    Args:
        presence: bool ``[n, K]``, the image-level labels known to training (never read from masks of novel classes).
        batch_size: Images of a batch in this process.
        num_batches: Batches of the whole run; the first to give is ``start_batch``, when a run is resumed.
        paired: False: anchors only.
        anchors: int64 ``[m]``, the images of one permutation; None: each once. See :func:`repeat_masks`.
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
        anchors: NDArray[np.int64] | None = None,
    ) -> None:
        if not len(presence):
            raise DataError("there are no training images to draw from: check data.train")
        self.batch_size, self.num_batches, self.start_batch = batch_size, num_batches, start_batch
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._anchors = np.arange(len(presence)) if anchors is None else anchors
        self._references = ReferenceIndex(presence, split) if paired else None

    def __len__(self) -> int:
        """Batches of the whole run, also when it is resumed: the trainer counts all of them."""
        return self.num_batches

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        anchors_per_batch = (self.batch_size + 1) // 2 if self._references else self.batch_size
        size, epoch, order = len(self._anchors), -1, self._anchors
        for step in range(self.start_batch, self.num_batches):
            first = (step * self._world_size + self._rank) * anchors_per_batch
            batch: list[SampleRequest] = []
            for position in range(first, first + anchors_per_batch):
                if position // size != epoch:
                    epoch = position // size
                    order = self._anchors[np.random.default_rng((self._seed, epoch)).permutation(size)]
                batch += self._requests(position, int(order[position % size]))
            yield batch[: self.batch_size]

    def _requests(self, position: int, anchor: int) -> list[SampleRequest]:
        """The anchor at a global position, followed by its reference."""
        rng = random.Random(self._seed << 64 | position)
        requests = [SampleRequest(anchor, rng.getrandbits(63))]
        if self._references is not None:
            requests.append(SampleRequest(self._references.reference(anchor, rng), rng.getrandbits(63)))
        return requests
