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


def keep(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return image, label_map, np.zeros(label_map.shape, dtype=bool)


def batches_of(dataset: WeakShotDataset) -> list[WeakBatch]:
    sampler = PairSampler(dataset.known, dataset.split, 5, 6, seed=3)
    novel = dataset.split.is_novel()
    return [WeakBatch.collate([dataset[request] for request in batch], novel, paired=True) for batch in sampler]


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


@pytest.fixture(params=["class by class", "pixel by pixel"])
def clean_and_poisoned(request: pytest.FixtureRequest, make_images: MakeImages) -> tuple[Any, Any]:
    """The same images twice; in the second the ids of novel pixels have changed places, the label sets stay."""
    clean, poisoned = make_images(), make_images()
    rng = np.random.default_rng(1)
    for i, label_map in enumerate(clean.maps):
        where = np.isin(label_map, NOVEL)
        ids = label_map[where]
        present = np.unique(ids)
        by_class = np.roll(present, 1)[np.searchsorted(present, ids)]
        poisoned.maps[i][where] = by_class if request.param == "class by class" else rng.permutation(ids)
        assert np.array_equal(np.unique(poisoned.maps[i]), np.unique(label_map))
    assert sum((a != b).sum() for a, b in zip(clean.maps, poisoned.maps, strict=True)) > 1000
    return clean, poisoned


@pytest.mark.parametrize("supervision", ["weakshot", "base_only"])
def test_poisoned_novel_pixels_change_nothing(clean_and_poisoned: tuple[Any, Any], supervision: str) -> None:
    transform = TrainTransform(32, (0.5, 2.0), category_max_area=0.5)
    first, second = (
        batches_of(WeakShotDataset(source, split_of(source), transform, supervision=supervision))
        for source in clean_and_poisoned
    )
    for a, b in zip(first, second, strict=True):
        assert_identical(a, b)


def test_the_same_poison_shows_in_crop_scope(clean_and_poisoned: tuple[Any, Any]) -> None:
    samples = [
        [dataset[SampleRequest(i, i)] for i in range(len(dataset))]
        for dataset in (
            WeakShotDataset(source, split_of(source), TrainTransform(16, (2.0, 3.0)), "crop")
            for source in clean_and_poisoned
        )
    ]
    assert any(not torch.equal(a.tags, b.tags) for a, b in zip(*samples, strict=True))


def test_supervision_decides_what_is_known(make_images: MakeImages) -> None:
    source = make_images()
    weak, base_only, full = (
        WeakShotDataset(source, split_of(source), keep, supervision=supervision)
        for supervision in ("weakshot", "base_only", "full")
    )
    assert full.split.novel == ()
    assert not base_only.known[:, list(NOVEL)].any()
    assert np.array_equal(weak.known, source.presence())
    assert np.array_equal(full.known, source.presence())
    for i, truth in enumerate(source.maps):
        hidden = torch.from_numpy(np.where(np.isin(truth, NOVEL), IGNORE, truth))
        samples = [dataset[SampleRequest(i, 0)] for dataset in (weak, base_only, full)]
        assert samples[0].tags.tolist() == [c in NOVEL and bool((truth == c).any()) for c in range(8)]
        assert not samples[1].tags.any()
        assert not samples[2].tags.any()
        for sample, expected in zip(samples, (hidden, hidden, torch.from_numpy(truth)), strict=True):
            assert torch.equal(sample.label_map, expected)
            assert torch.equal(sample.image, torch.from_numpy(source.images[i]).permute(2, 0, 1))


def test_crop_scope_has_the_labels_left_in_the_crop(make_images: MakeImages) -> None:
    def top_left(image: np.ndarray, label_map: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return image[:12, :12], label_map[:12, :12], np.zeros((12, 12), dtype=bool)

    source = make_images()
    dataset = WeakShotDataset(source, split_of(source), top_left, "crop")
    for i in range(len(source)):
        corner = int(source.maps[i][0, 0])
        assert dataset[SampleRequest(i, 0)].tags.nonzero()[:, 0].tolist() == [corner] * (corner in NOVEL)


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
    for name, value, known in (
        ("label_scope", "pixel", "image, crop"),
        ("supervision", "none", "weakshot, base_only, full"),
    ):
        with pytest.raises(ConfigError, match=f"unknown {name} '{value}': use one of {known}"):
            WeakShotDataset(source, split_of(source), keep, **{name: value})
