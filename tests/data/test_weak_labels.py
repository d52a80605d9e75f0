"""What training may know under every supervision and scope; ``properties/test_leak.py`` poisons the novel pixels."""

import numpy as np
import pytest
import torch

from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import ConfigError
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
