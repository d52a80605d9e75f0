"""Random batches of all kinds, and what a network could say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from weakshot_seg.structures import IGNORE, Knowledge, SegOutput, WeakTargets

SEEDS = st.integers(0, 2**32 - 1)
KINDS = ("nothing", "one pixel", "few pixels", "full", "no masks", "some masks")


@dataclass(frozen=True)
class Batch:
    """The arguments of :meth:`WeakTargets.collate`, in NumPy."""

    label_maps: np.ndarray
    padding: np.ndarray
    states: np.ndarray
    novel: np.ndarray
    paired: bool

    def targets(self):
        arrays = self.label_maps, self.padding, self.states, self.novel
        return WeakTargets.collate(*(torch.from_numpy(array.copy()) for array in arrays), self.paired)


@st.composite
def batches(draw, most_images=4, least_size=1):
    """Any batch that the data set can make: without base, without novel, without any label, all padding, ..."""
    images, classes = draw(st.integers(1, most_images)), draw(st.integers(2, 6))
    sides = st.just(least_size) | st.integers(least_size, 13)
    height, width = draw(sides), draw(sides)
    rng = np.random.default_rng(draw(SEEDS))
    novel = np.zeros(classes, dtype=bool)
    novel[sorted(draw(st.sets(st.integers(0, classes - 1), max_size=classes - 1)))] = True
    base = np.flatnonzero(~novel)
    maps = np.full((images, height, width), IGNORE, dtype=np.uint8)
    padding = np.zeros((images, height, width), dtype=bool)
    states = np.zeros((images, classes), dtype=np.uint8)
    for image in range(images):
        kind = draw(st.sampled_from(KINDS))
        if kind == "full":
            maps[image] = rng.choice(base, (height, width))
        elif kind in ("one pixel", "few pixels", "some masks"):  # a pixel of a class, or of each of several
            for class_id in base[:1] if kind == "one pixel" else base:
                maps[image, rng.integers(height), rng.integers(width)] = class_id
        padding[image, height - draw(st.integers(0, height)) :] = True
        padding[image, :, width - draw(st.integers(0, width)) :] = True
        masked = {"no masks": 0.0, "some masks": 0.5}.get(kind, 1.0)  # share of the base classes
        kinds = draw(st.sampled_from([[Knowledge.ABSENT], [*Knowledge][:3], [Knowledge.PRESENT]]))
        states[image] = np.where(~novel & (rng.random(classes) < masked), Knowledge.MASK, rng.choice(kinds, classes))
        maps[image][~np.isin(maps[image], np.flatnonzero(states[image] == Knowledge.MASK))] = IGNORE
    maps[padding] = IGNORE
    return Batch(maps, padding, states, novel, draw(st.booleans()))


@dataclass(frozen=True)
class Saying:
    """Leaves from which the output of a network is made, as a network makes it."""

    class_logits: Tensor
    mask_embeddings: Tensor
    pixel_embeddings: Tensor

    @property
    def leaves(self):
        return self.class_logits, self.mask_embeddings, self.pixel_embeddings

    def output(self):
        masks = torch.einsum("lbqc,bchw->lbqhw", self.mask_embeddings, self.pixel_embeddings)
        return SegOutput(self.class_logits, masks, self.pixel_embeddings, self.mask_embeddings)

    def gradients(self, loss):
        found = torch.autograd.grad(loss, self.leaves, allow_unused=True, retain_graph=True)
        return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(self.leaves, found, strict=True)]


def say(batch, queries, seed, scale=1.0, stride=4, layers=2):
    """Random leaves for a batch."""
    rng = torch.Generator().manual_seed(seed)
    images, height, width = batch.label_maps.shape

    def leaf(*shape):
        return (scale * torch.randn(*shape, generator=rng)).requires_grad_()

    return Saying(
        leaf(layers, images, queries, len(batch.novel) + 1),
        leaf(layers, images, queries, 3),
        leaf(images, 3, -(-height // stride), -(-width // stride)),
    )
