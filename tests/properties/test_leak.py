"""The leak rule: pixels that an image does not declare may get any other such id, and training sees no change."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from array_images import ArrayImages
from properties.batches import SEEDS, Batch, say
from properties.test_losses import criterion, judge
from weakshot_seg.data.pairing import PairSampler
from weakshot_seg.data.transforms import TrainTransform
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, SampleRequest, WeakBatch


def poisoned(label_map, states, novel, rng):
    """Other ids on all pixels of novel classes, of classes that are not declared to be annotated, and of none."""
    if label_map is None:
        return None
    hidden = [*np.flatnonzero(novel | (states != Knowledge.MASK)), IGNORE]
    return np.where(np.isin(label_map, hidden), rng.choice(hidden, label_map.shape), label_map).astype(np.uint8)


def declare(draw, seen, has_map, classes, rng):
    """Any states that can be said of an image with the classes ``seen``."""
    kinds = draw(st.sampled_from([[Knowledge.MASK], [*Knowledge], [Knowledge.UNKNOWN, Knowledge.PRESENT]]))
    states = rng.choice(kinds, classes)
    if not has_map:
        states[states == Knowledge.MASK] = Knowledge.UNKNOWN
    states[seen & (states == Knowledge.ABSENT)] = Knowledge.PRESENT
    return states.astype(np.uint8)


@st.composite
def scenes(draw, all_masks=False):
    """Scenes, the same with the hidden ids changed, and their split."""
    classes = draw(st.integers(2, 6))
    novel = tuple(sorted(draw(st.sets(st.integers(0, classes - 1), max_size=classes - 1))))
    rng = np.random.default_rng(draw(SEEDS))
    images, maps, states = [], [], []
    labels = np.zeros((count := draw(st.integers(1, 4)), classes), dtype=bool)
    for index in range(count):
        shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
        ids = np.array([*range(classes), IGNORE], dtype=np.uint8)
        choice = rng.choice(ids, draw(st.integers(1, classes + 1)), replace=False)
        has_map = all_masks or draw(st.booleans()) or index == 0
        maps.append(rng.choice(choice, shape) if has_map else None)
        images.append(rng.integers(256, size=(*shape, 3), dtype=np.uint8))
        seen = np.unique(maps[-1]) if has_map else choice
        labels[index, seen[seen != IGNORE]] = True
        states.append(declare(draw, labels[index], has_map, classes, rng))
    is_novel = np.isin(np.arange(classes), novel)
    states = None if all_masks or draw(st.booleans()) else np.array(states)
    declared = ArrayImages(images, maps, classes, labels, states).states(is_novel)
    spoilt = [poisoned(*pair, is_novel, rng) for pair in zip(maps, declared, strict=True)]
    clean, other = (ArrayImages(images, m, classes, labels, states) for m in (maps, spoilt))
    return clean, other, ClassSplit(clean.class_names, novel)


def batch_of(source, split, transform, seed, paired, supervision):
    def watched(image, label_map, seed):
        assert not np.isin(label_map, split.novel).any()
        return transform(image, label_map, seed)

    dataset = WeakShotDataset(source, split, watched, supervision=supervision)
    (draws,) = PairSampler(dataset.known, split, batch_size=4, num_batches=1, seed=seed, paired=paired)
    return WeakBatch.collate([dataset[draw] for draw in draws], split.is_novel(), paired)


@given(
    pair=scenes(), crop=st.integers(4, 16), share=st.sampled_from([0.3, 0.75, 1.0]), seed=SEEDS, paired=st.booleans(),
    supervision=st.sampled_from(["weakshot", "base_only"]),
)  # fmt: skip
def test_hidden_pixels_change_nothing(pair, crop, share, seed, paired, supervision):
    clean, spoilt, split = pair
    transform = TrainTransform(crop, (0.5, 2.0), category_max_area=share)
    first, second = (batch_of(source, split, transform, seed, paired, supervision) for source in (clean, spoilt))
    assert torch.equal(first.images, second.images)
    for field in fields(first.targets):
        ours, theirs = getattr(first.targets, field.name), getattr(second.targets, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, field.name
    novel = list(split.novel)
    assert not np.isin(first.targets.label_map, novel).any()
    assert first.names == second.names

    empty = np.zeros(0)
    size = first.targets.label_map.numpy()
    shape = Batch(size, empty, empty, split.is_novel().numpy(), paired)
    for kind in ("class queries", "hungarian"):
        saying, module = say(shape, split.num_classes, seed), criterion(kind)
        a, b = (judge(module, saying.output(), batch.targets) for batch in (first, second))
        assert all(torch.equal(a.parts[name], b.parts[name]) for name in a.parts)
        for ours, theirs in zip(saying.gradients(a.total), saying.gradients(b.total), strict=True):
            assert torch.equal(ours, theirs)


@given(pair=scenes(all_masks=True), seed=SEEDS)
def test_maps_are_hidden_under_every_scope_and_supervision(pair, seed):
    source, _, split = pair
    novel, transform = list(split.novel), TrainTransform(8, (0.5, 2.0))
    for scope in ("image", "crop"):
        dataset = WeakShotDataset(source, split, transform, scope)
        lower = WeakShotDataset(source, split, transform, scope, "base_only")
        for index in range(len(source)):
            for sample in (dataset[SampleRequest(index, seed)], lower[SampleRequest(index, seed)]):
                assert not np.isin(sample.label_map, novel).any()
            assert not np.isin(dataset.load(index)[1], novel).any()
            assert (lower[SampleRequest(index, seed)].states[novel] == Knowledge.ABSENT).all()
            of_image = torch.from_numpy(source.labels[index])
            found = dataset[SampleRequest(index, seed)].states == Knowledge.PRESENT
            assert not (found & ~of_image).any()
            if scope == "image":
                assert torch.equal(found[novel], of_image[novel])
