"""How often pairs are drawn, and large data sets; any small one is in ``tests/properties/test_pairing.py``."""

import random
from collections import Counter

import numpy as np
import pytest

from weakshot_seg.data.pairing import PairSampler, ReferenceIndex, repeat_masks
from weakshot_seg.errors import DataError
from weakshot_seg.structures import ClassSplit

ABC = ClassSplit(("a", "b", "c"), (0, 1))


def test_novel_classes_and_partners_are_drawn_evenly():
    # Image 0 has novel classes 0 and 1; 1-3 have class 0 alone, 4-6 class 1 alone, 7 both: never drawn.
    presence = np.array([[1, 1, 1], *[[1, 0, 1]] * 3, *[[0, 1, 1]] * 3, [1, 1, 1]], dtype=bool)
    index, rng = ReferenceIndex(presence, ABC), random.Random(0)
    counts = Counter(index.reference(0, rng) for _ in range(3000))
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    assert all(abs(count - 500) < 110 for count in counts.values())


def test_a_rare_deconfounded_partner_is_found_by_the_scan():
    presence = np.ones((5000, 3), dtype=bool)
    presence[4321, 1] = False  # the only image that has class 0 without class 1
    index, rng = ReferenceIndex(presence, ABC), random.Random(0)
    chosen = [index.reference(7, rng) for _ in range(200)]
    assert 60 < chosen.count(4321) < 140  # whenever class 0 is the one to share


def test_the_rarest_class_gets_more(monkeypatch):
    presence = np.zeros((40, 4), dtype=bool)
    presence[0, :3] = True
    for class_id, images in enumerate((slice(1, 3), slice(3, 20), slice(20, 40))):
        presence[images, class_id] = True
    index, rng = ReferenceIndex(presence, ClassSplit(("a", "b", "c", "d"), (0, 1, 2))), random.Random(0)
    monkeypatch.setattr("weakshot_seg.data.pairing.RAREST", 0.4)  # 0.01 would take many draws to see
    share = sum(index.reference(0, rng) < 3 for _ in range(4000)) / 4000
    assert share == pytest.approx(0.6 / 3 + 0.4, abs=0.04)


def test_seeds_and_epochs_give_different_orders():
    def order(seed):
        sampler = PairSampler(np.ones((10, 3), dtype=bool), ABC, 4, 5, seed, paired=False)
        return tuple(request.index for batch in sampler for request in batch)

    orders = {order(seed) for seed in range(20)}
    assert len(orders) == 20
    assert all(sorted(o[:10]) == sorted(o[10:]) == list(range(10)) and o[:10] != o[10:] for o in orders)


def test_memory_stays_linear():
    # An all-pairs table of these images would take 10 GB.
    presence = np.random.default_rng(0).random((100_000, 20), dtype=np.float32) < 0.1
    sampler = PairSampler(presence, ClassSplit(tuple(map(str, range(20))), (0, 5, 10, 15)), 8, 20, 0)
    assert sum(len(batch) for batch in sampler) == 160


def test_no_images():
    with pytest.raises(DataError, match="no training images"):
        PairSampler(np.ones((0, 3), dtype=bool), ABC, 2, 2, 0)


@pytest.mark.parametrize(("masks", "others", "share"), [(3, 20, 0.5), (1, 7, 0.25), (4, 3, 0.9)])
def test_masks_are_repeated_to_their_share(masks, others, share):
    with_mask = np.random.default_rng(1).permutation([True] * masks + [False] * others)
    anchors = repeat_masks(with_mask, share, seed=0)
    assert with_mask[anchors].mean() == pytest.approx(share, abs=0.5 / len(anchors))
    times = np.bincount(anchors, minlength=len(with_mask))
    assert (times[~with_mask] == 1).all()
    assert np.ptp(times[with_mask]) <= 1
    presence = np.ones((len(with_mask), 3), dtype=bool)
    sampler = PairSampler(presence, ABC, 1, 2 * len(anchors), 0, paired=False, anchors=anchors)
    drawn = [request.index for (request,) in sampler]
    assert sorted(drawn[: len(anchors)]) == sorted(drawn[len(anchors) :]) == sorted(anchors)


@pytest.mark.parametrize("with_mask", [[True, False, True, True], [False] * 4, [True] * 4])
def test_masks_that_are_enough_are_not_repeated(with_mask):
    assert repeat_masks(np.array(with_mask), 0.5, seed=0).tolist() == [0, 1, 2, 3]
