"""The leak rule: the ids of novel pixels may change places, and nothing that training sees changes."""

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
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, WeakBatch


def shuffled(label_map, novel, rng):
    """The same ids on other pixels of novel classes and unlabelled ones."""
    if label_map is None:
        return None
    other = label_map.copy()
    hidden = np.isin(label_map, [*novel, IGNORE])
    other[hidden] = rng.permutation(label_map[hidden])
    return other


@st.composite
def scenes(draw):
    """Scenes, the same with the hidden ids shuffled, and their split."""
    classes = draw(st.integers(2, 6))
    novel = tuple(sorted(draw(st.sets(st.integers(0, classes - 1), max_size=classes - 1))))
    rng = np.random.default_rng(draw(SEEDS))
    images, maps = [], []
    labels = np.zeros((count := draw(st.integers(1, 4)), classes), dtype=bool)
    for index in range(count):
        shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
        ids = np.array([*range(classes), IGNORE], dtype=np.uint8)
        choice = rng.choice(ids, draw(st.integers(1, classes + 1)), replace=False)
        has_map = draw(st.booleans()) or index == 0
        maps.append(rng.choice(choice, shape) if has_map else None)
        images.append(rng.integers(256, size=(*shape, 3), dtype=np.uint8))
        seen = np.unique(maps[-1]) if has_map else choice
        labels[index, seen[seen != IGNORE]] = True
    poisoned = [shuffled(label_map, novel, rng) for label_map in maps]
    clean, spoilt = (ArrayImages(images, m, classes, labels) for m in (maps, poisoned))
    return clean, spoilt, ClassSplit(clean.class_names, novel)


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
    clean, poisoned, split = pair
    transform = TrainTransform(crop, (0.5, 2.0), category_max_area=share)
    first, second = (batch_of(source, split, transform, seed, paired, supervision) for source in (clean, poisoned))
    assert torch.equal(first.images, second.images)
    for field in fields(first.targets):
        ours, theirs = getattr(first.targets, field.name), getattr(second.targets, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, field.name
    novel = list(split.novel)
    assert not np.isin(first.targets.label_map, novel).any()
    assert first.names == second.names

    empty = np.zeros(0)
    size = first.targets.label_map.numpy()
    shape = Batch(size, empty, empty, split.is_novel().numpy(), empty, paired)
    saying, module = say(shape, split.num_classes, seed), criterion("class queries")
    a, b = (judge(module, saying.output(), batch.targets) for batch in (first, second))
    assert all(torch.equal(a.parts[name], b.parts[name]) for name in a.parts)
    for ours, theirs in zip(saying.gradients(a.total), saying.gradients(b.total), strict=True):
        assert torch.equal(ours, theirs)


@given(pair=scenes(), seed=SEEDS)
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
            assert not lower[SampleRequest(index, seed)].tags[novel].any()
            of_image = torch.from_numpy(source.labels[index])
            found = dataset[SampleRequest(index, seed)].tags
            assert not (found & ~of_image).any()
            if scope == "image":
                assert torch.equal(found[novel], of_image[novel])
