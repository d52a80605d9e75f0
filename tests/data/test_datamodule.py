"""The data module: lazy parts, batches that are the same for any number of workers, resuming, many processes."""

import logging
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.transforms import EvalTransform, TrainTransform
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, EvalBatch, WeakBatch

MakeImages = Callable[..., Any]


@pytest.fixture
def make_data(make_images: MakeImages) -> Callable[..., WeakShotDataModule]:
    def make(**settings: Any) -> WeakShotDataModule:
        defaults: dict[str, Any] = {
            "train": partial(make_images, 12),
            "val": partial(make_images, 7, seed=1),
            "train_transform": TrainTransform(32),
            "val_transform": EvalTransform(),
            "split": 1,
            "batch_size": 4,
            "val_batch_size": 3,
            "num_workers": 0,
            "max_steps": 6,
        }
        return WeakShotDataModule(**defaults | settings)

    return make


MakeData = Callable[..., WeakShotDataModule]


def fingerprint(batch: WeakBatch) -> tuple[object, ...]:
    """Names and all pixels of a batch."""
    return batch.names, batch.images.numpy().tobytes(), batch.targets.label_map.numpy().tobytes()


def trainer(rank: int = 0, world: int = 1, step: int = 0) -> Any:
    return SimpleNamespace(global_rank=rank, world_size=world, global_step=step)


def test_parts_are_made_once_and_only_when_needed(make_data: MakeData, make_images: MakeImages) -> None:
    made: list[str] = []

    def part(name: str) -> Any:
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


def test_use_before_setup_is_an_error(make_data: MakeData) -> None:
    data = make_data()
    for use in (lambda: data.class_split, data.train_dataloader, data.val_dataloader):
        with pytest.raises(RuntimeError, match="setup"):
            use()


def test_training_batches(make_data: MakeData) -> None:
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
    assert len({fingerprint(batch) for batch in batches}) == 12
    assert data.max_classes_per_image == max(len(np.unique(m[m != IGNORE])) for m in data.make_train().maps)


def test_any_number_of_workers_gives_the_same_batches(make_data: MakeData) -> None:
    streams = []
    for workers in (0, 2):
        data = make_data(num_workers=workers)
        data.setup()
        streams.append([fingerprint(batch) for batch in data.train_dataloader()])
        for loader in (data.train_dataloader(), data.val_dataloader()):  # elsewhere workers are not forked
            pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn, loader.batch_sampler)))
    assert streams[0] == streams[1]


def test_unlabelled_images_are_left_out(
    make_data: MakeData, make_images: MakeImages, caplog: pytest.LogCaptureFixture
) -> None:
    def with_gaps() -> Any:
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


def test_no_label_at_all(make_data: MakeData, make_images: MakeImages) -> None:
    def empty() -> Any:
        images = make_images()
        images.maps = [np.full_like(m, IGNORE) for m in images.maps]
        return images

    with pytest.raises(DataError, match="no training image has a label"):
        make_data(train=empty).setup()


def test_class_names_must_agree(make_data: MakeData, make_images: MakeImages) -> None:
    for other, message in (
        (partial(make_images, classes=5), "their number"),
        (lambda: rename(make_images()), "'class 1'"),
    ):
        with pytest.raises(DataError, match=f"different class names .*{message}"):
            make_data(val=other).setup()


def rename(images: Any) -> Any:
    images.class_names = ("class 0", "other", *images.class_names[2:])
    return images


def test_evaluation_batches_keep_the_original_maps(make_data: MakeData, make_images: MakeImages) -> None:
    def mixed() -> Any:
        images = make_images(5)
        images.maps = [m[: 48 - 3 * i, : 40 + i] for i, m in enumerate(images.maps)]
        images.images = [m[: 48 - 3 * i, : 40 + i] for i, m in enumerate(images.images)]
        return images

    data = make_data(val=mixed, val_transform=EvalTransform(30))
    data.setup("validate")
    batches: list[EvalBatch] = list(data.val_dataloader())
    assert [len(batch.names) for batch in batches] == [3, 2]
    source = mixed()
    position = 0
    for batch in batches:
        assert batch.images.shape[2] % 32 == batch.images.shape[3] % 32 == 0
        for image, (height, width), truth, name in zip(
            batch.images, batch.sizes, batch.truths, batch.names, strict=True
        ):
            original, label_map = source.load(position)
            resized = EvalTransform(30)(original)
            assert (height, width) == resized.shape[:2]
            assert torch.equal(image[:, :height, :width], torch.from_numpy(resized).permute(2, 0, 1))
            assert (image[:, height:] == 128).all()
            assert (image[:, :, width:] == 128).all()
            assert torch.equal(truth, torch.from_numpy(label_map))  # all classes, novel ones too
            assert name == source.name(position)
            position += 1
    assert position == 5


def test_processes_share_out_training_and_validation(make_data: MakeData, make_images: MakeImages) -> None:
    one = make_data(batch_size=12, max_steps=3)
    one.setup()
    whole = list(one.train_dataloader())
    counts, seen, parts = [], [], []
    for rank in range(3):
        data = make_data(max_steps=3)
        data.trainer = trainer(rank, 3)
        data.setup()
        parts.append(list(data.train_dataloader()))
        batches = list(data.val_dataloader())
        counts.append(len(batches))
        for batch in batches:
            seen += [n for n, truth in zip(batch.names, batch.truths, strict=True) if (truth != IGNORE).any()]
    for batch, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert batch.names == tuple(name for piece in pieces for name in piece.names)
        assert torch.equal(batch.images, torch.cat([piece.images for piece in pieces]))
    # 7 images on 3 processes: as many batches on each (else they would wait for each other), every image counted once.
    assert len(set(counts)) == 1
    assert sorted(seen) == [f"image {i}" for i in range(7)]


class Recorder(pl.LightningModule):
    """A model of one number that remembers the batches it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[object, ...]] = []

    def training_step(self, batch: WeakBatch, batch_idx: int) -> torch.Tensor:
        self.seen.append(fingerprint(batch))
        return self.weight * batch.images.float().mean()

    def validation_step(self, batch: EvalBatch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


@pytest.mark.parametrize(("accumulate", "workers"), [(1, 0), (2, 2)])
def test_a_resumed_run_continues_the_stream(
    make_data: MakeData, tmp_path: Path, accumulate: int, workers: int, recwarn: pytest.WarningsRecorder
) -> None:
    def run(checkpoint: str | None) -> Recorder:
        model = Recorder()
        saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
        fit = pl.Trainer(
            max_steps=6,
            accumulate_grad_batches=accumulate,
            val_check_interval=3 * accumulate,
            num_sanity_val_steps=0,
            limit_val_batches=0 if workers else 1.0,
            accelerator="cpu",
            logger=False,
            callbacks=[saver],
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        fit.fit(model, make_data(accumulate=accumulate, num_workers=workers), ckpt_path=checkpoint)
        assert fit.global_step == 6
        return model

    whole = run(None)
    assert len(whole.seen) == 6 * accumulate
    resumed = run(str(tmp_path / "step=4.ckpt"))
    assert resumed.seen == whole.seen[4 * accumulate :]
    assert torch.equal(resumed.weight, whole.weight)
    assert not [w for w in recwarn if "not resumable" in str(w.message)]
