"""Pairs of images against brute force, and the stream of batches under resuming, many processes and any batch size."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weakshot_seg.data.pairing import PairSampler, ReferenceIndex
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import ClassSplit, SampleRequest


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[np.ndarray, ClassSplit]:
    """A table of labels with rare, common and absent classes, and a split."""
    images, classes = draw(st.integers(1, 24)), draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    presence = rng.random((images, classes)) < rng.choice([0.0, 0.05, 0.3, 0.7, 1.0], classes)
    novel = rng.permutation(classes)[: draw(st.integers(0, classes - 1))]
    return presence, ClassSplit(tuple(map(str, range(classes))), tuple(novel.tolist()))


def stream(data: tuple[np.ndarray, ClassSplit], *args: int, **options: int | bool) -> list[list[SampleRequest]]:
    return list(PairSampler(*data, *args, **options))


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), seed=st.integers(0, 1000))
def test_reference_against_brute_force(data: tuple[np.ndarray, ClassSplit], seed: int) -> None:
    presence, split = data
    novel, base = list(split.novel), list(split.base)
    index, rng = ReferenceIndex(presence, split), random.Random(seed)
    for anchor in range(len(presence)):
        chosen = index.reference(anchor, rng)
        others = [i for i in range(len(presence)) if i != anchor]
        assert chosen in others or not others
        if not others:
            continue
        shared = {i: {c for c in novel if presence[anchor, c] and presence[i, c]} for i in others}
        if any(shared.values()):
            assert shared[chosen]
            # A confounded partner is right only for a class that no other image meets the anchor in alone.
            assert len(shared[chosen]) == 1 or any({c} not in shared.values() for c in shared[chosen])
        elif any((presence[anchor, base] & presence[i, base]).any() for i in others):
            assert (presence[anchor, base] & presence[chosen, base]).any()


def test_novel_classes_and_partners_are_drawn_evenly() -> None:
    # Image 0 has novel classes 0 and 1; 1-3 have class 0 alone, 4-6 class 1 alone, 7 both: never drawn.
    presence = np.array([[1, 1, 1], *[[1, 0, 1]] * 3, *[[0, 1, 1]] * 3, [1, 1, 1]], dtype=bool)
    index, rng = ReferenceIndex(presence, ClassSplit(("a", "b", "c"), (0, 1))), random.Random(0)
    counts = Counter(index.reference(0, rng) for _ in range(3000))
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    assert all(abs(count - 500) < 110 for count in counts.values())


def test_a_rare_deconfounded_partner_is_found_by_the_scan() -> None:
    presence = np.ones((5000, 3), dtype=bool)
    presence[4321, 1] = False  # the only image that has class 0 without class 1
    index, rng = ReferenceIndex(presence, ClassSplit(("a", "b", "c"), (0, 1))), random.Random(0)
    chosen = [index.reference(7, rng) for _ in range(200)]
    assert 60 < chosen.count(4321) < 140  # whenever class 0 is the one to share


def test_the_rarest_class_gets_more(monkeypatch: pytest.MonkeyPatch) -> None:
    presence = np.zeros((40, 4), dtype=bool)
    presence[0, :3] = True
    presence[1:3, 0] = True
    presence[3:20, 1] = True
    presence[20:40, 2] = True
    index, rng = ReferenceIndex(presence, ClassSplit(("a", "b", "c", "d"), (0, 1, 2))), random.Random(0)
    monkeypatch.setattr("weakshot_seg.data.pairing.RAREST", 0.4)  # 0.01 would take many draws to see
    share = sum(index.reference(0, rng) < 3 for _ in range(4000)) / 4000
    assert share == pytest.approx(0.6 / 3 + 0.4, abs=0.04)


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_batches_have_anchors_and_references_side_by_side(
    data: tuple[np.ndarray, ClassSplit], batch_size: int, seed: int
) -> None:
    n = len(data[0])
    batches = stream(data, batch_size, 7, seed)
    assert len(batches) == 7
    assert all(len(batch) == batch_size for batch in batches)
    anchors = [draw.index for batch in batches for draw in batch[::2]]
    for epoch in range(len(anchors) // n):  # every epoch shows every image once as an anchor
        assert sorted(anchors[epoch * n : (epoch + 1) * n]) == list(range(n))
    for batch in batches:
        for anchor, reference in zip(batch[::2], batch[1::2], strict=False):
            assert n == 1 or anchor.index != reference.index
    seeds = [draw.seed for batch in batches for draw in batch]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), batch_size=st.integers(1, 9), start=st.integers(0, 8))
def test_resumed_stream_is_the_tail(data: tuple[np.ndarray, ClassSplit], batch_size: int, start: int) -> None:
    whole = stream(data, batch_size, 8, 1)
    sampler = PairSampler(*data, batch_size, 8, 1, start_batch=start)
    assert list(sampler) == whole[start:]
    assert list(sampler) == whole[start:]  # and the same again
    assert len(sampler) == 8
    assert stream(data, batch_size, 5, 1) == whole[:5]  # a longer run starts alike


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), half=st.integers(1, 4), world=st.integers(1, 4), paired=st.booleans())
def test_processes_share_out_the_stream_of_one(
    data: tuple[np.ndarray, ClassSplit], half: int, world: int, paired: bool
) -> None:
    size = 2 * half
    one = stream(data, size * world, 4, 2, paired=paired)
    ranks = [stream(data, size, 4, 2, rank=rank, world_size=world, paired=paired) for rank in range(world)]
    assert [[draw for part in parts for draw in part] for parts in zip(*ranks, strict=True)] == one


def test_unpaired_batches_are_anchors_only() -> None:
    data = (np.ones((10, 3), dtype=bool), ClassSplit(("a", "b", "c"), (0,)))
    draws = [draw.index for batch in stream(data, 4, 5, 0, paired=False) for draw in batch]
    assert sorted(draws[:10]) == sorted(draws[10:]) == list(range(10))
    assert draws[:10] != draws[10:]


def test_seeds_and_epochs_give_different_orders() -> None:
    data = (np.ones((30, 3), dtype=bool), ClassSplit(("a", "b", "c"), (0,)))
    orders = {tuple(d.index for b in stream(data, 8, 5, seed) for d in b[::2]) for seed in range(20)}
    assert len(orders) == 20


def test_memory_stays_linear() -> None:
    # An all-pairs table of these images would take 10 GB.
    rng = np.random.default_rng(0)
    presence = rng.random((100_000, 20), dtype=np.float32) < 0.1
    sampler = PairSampler(presence, ClassSplit(tuple(map(str, range(20))), (0, 5, 10, 15)), 8, 20, 0)
    assert sum(len(batch) for batch in sampler) == 160


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0: at least 1"),
        ({"seed": -1}, "seed is -1: at least 0"),
        ({"rank": 2, "world_size": 2}, "world_size is 2: at least 3"),
    ],
)
def test_numbers_out_of_range(options: dict[str, int], message: str) -> None:
    arguments = {"batch_size": 2, "num_batches": 2, "seed": 0} | options
    with pytest.raises(ConfigError, match=message):
        PairSampler(np.ones((3, 2), dtype=bool), ClassSplit(("a", "b"), (0,)), **arguments)


def test_no_images() -> None:
    with pytest.raises(DataError, match="no training images"):
        PairSampler(np.ones((0, 2), dtype=bool), ClassSplit(("a", "b"), (0,)), 2, 2, 0)
