"""Anchors and references of any set of images, against the rules of the method by brute force."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from properties.batches import SEEDS
from weakshot_seg.data.pairing import PairSampler, ReferenceIndex
from weakshot_seg.structures import ClassSplit


@st.composite
def tables(draw):
    """Image-level labels of 1 to 16 images and a split of 2 to 6 classes."""
    classes = draw(st.integers(2, 6))
    novel = draw(st.sets(st.integers(0, classes - 1), max_size=classes - 1))
    rng = np.random.default_rng(draw(SEEDS))
    shares = rng.choice([0, 0.05, 0.3, 0.7, 1], classes)  # absent, rare, common
    presence = rng.random((draw(st.integers(1, 16)), classes)) < shares
    return presence, ClassSplit(tuple(map(str, range(classes))), tuple(novel))


@given(table=tables(), seed=SEEDS)
def test_a_reference_is_the_best_there_is(table, seed):
    presence, split = table
    labels = [set(np.flatnonzero(row).tolist()) for row in presence]
    novel = set(split.novel)
    index, rng = ReferenceIndex(presence, split), Random(seed)
    for anchor, mine in enumerate(labels):
        others = [i for i in range(len(labels)) if i != anchor]
        sharing_novel = [i for i in others if labels[i] & mine & novel]
        reference = index.reference(anchor, rng)
        if not others:
            assert reference == anchor
            continue
        assert reference in others
        if sharing_novel:
            common = labels[reference] & mine & novel
            assert common
            # not deconfounded only if no other image has one of the common classes alone
            if len(common) > 1:
                alone = [{c for i in others if labels[i] & mine & novel == {c}} for c in common]
                assert not all(alone)
        elif any(labels[i] & mine for i in others):
            assert labels[reference] & mine


@given(
    table=tables(), batch=st.integers(1, 5), batches=st.integers(0, 8), start=st.integers(0, 8),
    world=st.integers(1, 3), seed=st.integers(0, 2**40), paired=st.booleans(),
)  # fmt: skip
def test_batches(table, batch, batches, start, world, seed, paired):
    presence, split = table

    def sampler(rank=0, ranks=1, first=0, steps=batches):
        return list(PairSampler(presence, split, batch, steps, seed, first, rank, ranks, paired))

    whole = sampler()
    assert len(whole) == batches
    assert all(len(draws) == batch for draws in whole)
    assert sampler(first=start) == whole[start:]  # resumed
    assert sampler(steps=batches + 2)[:batches] == whole  # a longer run starts alike
    resumed = PairSampler(presence, split, batch, batches, seed, start, paired=paired)
    assert len(resumed) == batches
    assert list(resumed) == list(resumed)
    anchors = [draw.index for draws in whole for draw in (draws[::2] if paired else draws)]
    size = len(presence)
    for epoch in range(len(anchors) // size):  # all images, each once
        assert sorted(anchors[epoch * size : (epoch + 1) * size]) == list(range(size))
    shared = [sampler(rank, world) for rank in range(world)]
    merged = [draws for step in zip(*shared, strict=True) for draws in step]
    assert merged == sampler(steps=batches * world)  # of several processes
    seeds = [draw.seed for draws in merged for draw in draws]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)
