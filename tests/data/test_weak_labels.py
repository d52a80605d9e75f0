"""What training may know under every supervision and scope; ``properties/test_leak.py`` poisons the novel pixels."""

import numpy as np
import pytest
import torch

from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, SampleRequest

NOVEL = (1, 4, 6)


def split_of(source):
    return ClassSplit(source.class_names, NOVEL)


def keep(image, label_map, seed):
    return image, label_map, np.zeros(label_map.shape, dtype=bool)


def test_supervision_decides_what_is_known(make_images):
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
        present = [Knowledge.PRESENT if (truth == c).any() else Knowledge.ABSENT for c in range(8)]
        base, novel = [Knowledge.MASK] * 8, [c in NOVEL for c in range(8)]
        assert samples[0].states.tolist() == np.where(novel, present, base).tolist()
        assert samples[1].states.tolist() == np.where(novel, Knowledge.ABSENT, base).tolist()
        assert samples[2].states.tolist() == base
        for sample, expected in zip(samples, (hidden, hidden, torch.from_numpy(truth)), strict=True):
            assert torch.equal(sample.label_map, expected)
            assert torch.equal(sample.image, torch.from_numpy(source.images[i]).permute(2, 0, 1))


def test_only_declared_masks_are_seen(make_images):
    """Of the base classes 0, 2, 3, 5, 7 some images declare some; what they say of novel ones stays, but no mask."""
    source = make_images(count=30)
    source.labels, rng = source.presence(), np.random.default_rng(1)
    source.declared = rng.integers(4, size=source.labels.shape).astype(np.uint8)
    dataset = WeakShotDataset(source, split_of(source), keep)
    for i, (truth, declared) in enumerate(zip(source.maps, source.declared, strict=True)):
        sample = dataset[SampleRequest(i, 0)]
        for c, present in enumerate(source.labels[i]):
            masked = declared[c] == Knowledge.MASK
            seen = bool((sample.label_map == c).any())
            assert seen == (present and masked and c not in NOVEL)
            assert not seen or np.array_equal(sample.label_map == c, truth == c)
            by_mask = Knowledge.PRESENT if present else Knowledge.ABSENT
            assert sample.states[c] == (by_mask if masked and c in NOVEL else declared[c])
            assert dataset.known[i, c] == (present if masked else declared[c] == Knowledge.PRESENT)
    assert (dataset.knowledge[:, list(NOVEL)] != Knowledge.MASK).all()
    for setting in ({"supervision": "full"}, {"label_scope": "crop"}):
        with pytest.raises(ConfigError, match="needs masks of all classes, but 30 images have no mask of some class"):
            WeakShotDataset(source, split_of(source), keep, **setting)


def test_an_image_without_a_mask_declares_none(make_images):
    source = make_images()
    source.declared = np.full((12, 8), Knowledge.MASK, np.uint8)
    source.labels, source.maps[4] = source.presence(), None
    with pytest.raises(DataError, match=r"image 4 has no mask: its source needs states\(\)"):
        WeakShotDataset(source, split_of(source), keep)[SampleRequest(4, 0)]


def test_crop_scope_has_the_labels_left_in_the_crop(make_images):
    def top_left(image, label_map, seed):
        return image[:12, :12], label_map[:12, :12], np.zeros((12, 12), dtype=bool)

    source = make_images()
    dataset = WeakShotDataset(source, split_of(source), top_left, "crop")
    for i in range(len(source)):
        corner = int(source.maps[i][0, 0])
        states = dataset[SampleRequest(i, 0)].states
        assert (states == Knowledge.PRESENT).nonzero()[:, 0].tolist() == [corner] * (corner in NOVEL)
        assert (states == Knowledge.MASK).tolist() == [c not in NOVEL for c in range(8)]


def test_unknown_options_are_refused(make_images):
    source = make_images()
    for name, value, known in (
        ("label_scope", "pixel", "image, crop"),
        ("supervision", "none", "weakshot, base_only, full"),
    ):
        with pytest.raises(ConfigError, match=f"unknown {name} '{value}': use one of {known}"):
            WeakShotDataset(source, split_of(source), keep, **{name: value})
