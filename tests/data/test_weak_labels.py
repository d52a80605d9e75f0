"""The leak rule: nothing about novel pixels leaves the data set but the labels of the image."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from weakshot_seg.data.pairing import PairSampler
from weakshot_seg.data.transforms import TrainTransform
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, WeakBatch

NOVEL = (1, 4, 6)
MakeImages = Callable[..., Any]


def split_of(source: Any) -> ClassSplit:
    return ClassSplit(source.class_names, NOVEL)


def transform() -> TrainTransform:
    return TrainTransform(32, (0.5, 2.0), category_max_area=0.5)


def keep(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return image, label_map, np.zeros(label_map.shape, dtype=bool)


def batches_of(dataset: WeakShotDataset) -> list[WeakBatch]:
    sampler = PairSampler(dataset.known, dataset.split, 5, 6, seed=3)
    novel = dataset.split.is_novel()
    return [WeakBatch.collate([dataset[draw] for draw in draws], novel, paired=True) for draws in sampler]


def assert_identical(a: object, b: object) -> None:
    assert type(a) is type(b)
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, Tensor):
            assert x.dtype == y.dtype
            assert torch.equal(x, y), field.name
        elif hasattr(x, "__dataclass_fields__"):
            assert_identical(x, y)
        else:
            assert x == y


def poison(source: Any, how: str) -> int:
    """Moves ids among the novel pixels of each image, keeping its set of labels; returns how many pixels changed."""
    rng = np.random.default_rng(1)
    changed = 0
    for i, label_map in enumerate(source.maps):
        where = np.isin(label_map, NOVEL)
        ids, poisoned = label_map[where], label_map.copy()
        present = np.unique(ids)
        if how == "relabel":  # class by class
            poisoned[where] = np.roll(present, 1)[np.searchsorted(present, ids)]
        else:  # pixel by pixel
            poisoned[where] = rng.permutation(ids) if how == "shuffle" else np.sort(ids)
        assert np.array_equal(np.unique(poisoned), np.unique(label_map))
        changed += int((poisoned != label_map).sum())
        source.maps[i] = poisoned
    return changed


@pytest.mark.parametrize("how", ["relabel", "shuffle", "sort"])
@pytest.mark.parametrize("supervision", ["weakshot", "base_only"])
def test_poisoned_novel_pixels_change_nothing(make_images: MakeImages, supervision: str, how: str) -> None:
    clean, poisoned = make_images(), make_images()
    assert poison(poisoned, how) > 1000
    first, second = (
        batches_of(WeakShotDataset(source, split_of(source), transform(), supervision=supervision))
        for source in (clean, poisoned)
    )
    for a, b in zip(first, second, strict=True):
        assert_identical(a, b)


@pytest.mark.parametrize("how", ["relabel", "sort"])
def test_the_same_poison_shows_in_crop_scope(make_images: MakeImages, how: str) -> None:
    clean, poisoned = make_images(), make_images()
    poison(poisoned, how)
    samples = [
        [
            WeakShotDataset(s, split_of(s), TrainTransform(16, (2.0, 3.0)), "crop")[SampleRequest(i, i)]
            for i in range(len(s))
        ]
        for s in (clean, poisoned)
    ]
    assert any(not torch.equal(a.tags, b.tags) for a, b in zip(*samples, strict=True))


@pytest.mark.parametrize("scope", ["image", "crop"])
def test_no_novel_id_is_in_a_label_map(make_images: MakeImages, scope: str) -> None:
    source = make_images()
    dataset = WeakShotDataset(source, split_of(source), transform(), scope)
    for i in range(len(source)):
        assert not np.isin(dataset[SampleRequest(i, i)].label_map.numpy(), NOVEL).any()


def test_supervision_decides_what_is_known(make_images: MakeImages) -> None:
    source = make_images()
    split = split_of(source)
    for i in range(len(source)):
        truth = source.maps[i]
        tags = torch.tensor([c in NOVEL and bool((truth == c).any()) for c in range(8)])
        hidden = torch.from_numpy(np.where(np.isin(truth, NOVEL), IGNORE, truth))

        weak = WeakShotDataset(source, split, keep)[SampleRequest(i, 0)]
        assert torch.equal(weak.tags, tags)
        assert torch.equal(weak.label_map, hidden)
        assert torch.equal(weak.image, torch.from_numpy(source.images[i]).permute(2, 0, 1))

        base_only = WeakShotDataset(source, split, keep, supervision="base_only")
        assert not base_only[SampleRequest(i, 0)].tags.any()
        assert torch.equal(base_only[SampleRequest(i, 0)].label_map, hidden)
        assert not base_only.known[i, list(NOVEL)].any()

        full = WeakShotDataset(source, split, keep, supervision="full")
        assert not full[SampleRequest(i, 0)].tags.any()
        assert torch.equal(full[SampleRequest(i, 0)].label_map, torch.from_numpy(truth))
        assert full.split.novel == ()
        assert np.array_equal(full.known[i], source.presence()[i])


def test_crop_scope_has_the_labels_left_in_the_crop(make_images: MakeImages) -> None:
    def top_left(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return image[:12, :12], label_map[:12, :12], np.zeros((12, 12), dtype=bool)

    source = make_images()
    for i in range(len(source)):
        corner = int(source.maps[i][0, 0])
        sample = WeakShotDataset(source, split_of(source), top_left, "crop")[SampleRequest(i, 0)]
        assert sample.tags.nonzero()[:, 0].tolist() == [corner] * (corner in NOVEL)


def test_the_augmentation_never_sees_novel_pixels_in_image_scope(make_images: MakeImages) -> None:
    def spy(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert not np.isin(label_map, NOVEL).any()
        return keep(image, label_map, seed)

    source = make_images()
    dataset = WeakShotDataset(source, split_of(source), spy)
    for i in range(len(source)):
        dataset[SampleRequest(i, 0)]


def test_unknown_options_are_refused(make_images: MakeImages) -> None:
    source = make_images()
    with pytest.raises(ConfigError, match="unknown label_scope 'pixel': use one of image, crop"):
        WeakShotDataset(source, split_of(source), keep, "pixel")
    with pytest.raises(ConfigError, match="unknown supervision 'none': use one of weakshot, base_only, full"):
        WeakShotDataset(source, split_of(source), keep, supervision="none")
