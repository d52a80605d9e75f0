"""The data module: lazy parts, batches that are the same for any number of workers, many processes."""

import logging
import pickle
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


@pytest.fixture
def make_data(make_images):
    def make(**settings):
        parts = {"train": partial(make_images, 12), "val": partial(make_images, 7, seed=1)}
        transforms = {"train_transform": TrainTransform(32), "val_transform": EvalTransform()}
        sizes = {"split": 1, "batch_size": 4, "val_batch_size": 3, "num_workers": 0, "max_steps": 6}
        return WeakShotDataModule(**parts | transforms | sizes | settings)

    return make


def test_parts_are_made_once_and_only_when_needed(make_data, make_images):
    made = []

    def part(name):
        made.append(name)
        return make_images()

    data = make_data(train=partial(part, "train"), val=partial(part, "val"))
    assert made == []
    data.setup("validate")
    assert made == ["val"]
    assert data.class_split.names == make_images().class_names
    data.setup("fit")
    data.setup("fit")
    assert made == ["val", "train"]
    assert len(data.class_split.novel) == 2


def test_training_batches(make_data):
    data = make_data(accumulate=2)
    data.setup()
    batches = list(data.train_dataloader())
    assert len(batches) == 12
    split = data.class_split
    for batch in batches:
        assert batch.images.shape == (4, 3, 32, 32)
        assert batch.targets.paired
        assert torch.equal(batch.targets.novel, split.is_novel())
        assert not torch.isin(batch.targets.label_map, torch.tensor(split.novel)).any()
        for anchor, reference in zip(batch.names[::2], batch.names[1::2], strict=True):
            assert anchor != reference
    assert len({batch.images.numpy().tobytes() for batch in batches}) == 12
    for loader in (data.train_dataloader(), data.val_dataloader()):  # as workers get them that are not forked
        pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn, loader.batch_sampler)))
    assert data.max_classes_per_image == max(len(np.unique(m[m != IGNORE])) for m in data.make_train().maps)


def test_unlabelled_images_are_left_out(make_data, make_images, caplog):
    def with_gaps():
        images = make_images()
        images.maps[3][:] = images.maps[8][:] = IGNORE
        images.maps[5][:] = 2
        return images

    with caplog.at_level(logging.WARNING):
        data = make_data(train=with_gaps, novel_classes=["class 2"])
        data.setup()
        assert "2 of 12 training images have no label and are left out" in caplog.text
        assert {name for batch in data.train_dataloader() for name in batch.names}.isdisjoint({"image 3", "image 8"})
        # Without novel labels, an image of novel classes alone teaches nothing.
        make_data(train=with_gaps, novel_classes=["class 2"], supervision="base_only").setup()
        assert "3 of 12 training images have no label" in caplog.text
    kept = make_data(train=with_gaps, drop_unlabelled=False)
    kept.setup()
    assert len(kept.train_dataset) == 12


def test_parts_that_do_not_fit(make_data, make_images):
    def empty():
        images = make_images()
        images.maps = [np.full_like(m, IGNORE) for m in images.maps]
        return images

    def renamed():
        images = make_images()
        images.class_names = ("class 0", "other", *images.class_names[2:])
        return images

    for parts, message in (
        ({"train": empty}, "no training image has a label"),
        ({"val": partial(make_images, classes=5)}, "different class names .*their number"),
        ({"val": renamed}, "different class names .*'class 1'"),
    ):
        with pytest.raises(DataError, match=message):
            make_data(**parts).setup()
    with pytest.raises(RuntimeError, match="setup"):
        make_data().train_dataloader()


def test_evaluation_batches_keep_the_original_maps(make_data, make_images):
    def mixed():
        images = make_images(5)
        images.maps = [m[: 48 - 3 * i, : 40 + i] for i, m in enumerate(images.maps)]
        images.images = [m[: 48 - 3 * i, : 40 + i] for i, m in enumerate(images.images)]
        return images

    data = make_data(val=mixed, val_transform=EvalTransform(30))
    data.setup("validate")
    batches = list(data.val_dataloader())
    assert [len(batch) for batch in batches] == [3, 2]
    source = mixed()
    for position, sample in enumerate(sample for batch in batches for sample in batch):
        original, label_map = source.load(position)
        assert sample.name == source.name(position)
        assert torch.equal(sample.image, torch.from_numpy(EvalTransform(30)(original)).permute(2, 0, 1))
        assert torch.equal(sample.truth, torch.from_numpy(label_map))  # all classes, novel ones too


def test_processes_share_out_training_and_validation(make_data, make_images):
    one = make_data(batch_size=12, max_steps=3)
    one.setup()
    whole = list(one.train_dataloader())
    counts, seen, parts = [], [], []
    for rank in range(3):
        data = make_data(max_steps=3)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=3, global_step=0)
        data.setup()
        parts.append(list(data.train_dataloader()))
        batches = list(data.val_dataloader())
        counts.append(len(batches))
        for batch in batches:
            seen += [sample.name for sample in batch if (sample.truth != IGNORE).any()]
    for batch, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert batch.names == tuple(name for piece in pieces for name in piece.names)
        assert torch.equal(batch.images, torch.cat([piece.images for piece in pieces]))
    # 7 images on 3 processes: as many batches on each (else they would wait for each other), every image counted once.
    assert len(set(counts)) == 1
    assert sorted(seen) == [f"image {i}" for i in range(7)]
