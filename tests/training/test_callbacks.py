"""Callbacks, loggers and checkpoint files, around a toy module that paints every validation image with one class."""

import csv
import json
import logging
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from PIL import Image
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset

from weakshot_seg.data.evaluation import EvalSample
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.training.callbacks import time_estimate
from weakshot_seg.training.callbacks.checkpoints import AtomicCheckpointIO, LastCheckpoint
from weakshot_seg.training.callbacks.pictures import KEPT, PredictionPanels, RankedImages, ValidatedImage
from weakshot_seg.training.callbacks.progress import TrainingProgress
from weakshot_seg.training.callbacks.results import MetricsFile
from weakshot_seg.training.callbacks.weights_and_biases import ResilientWandbLogger
from weakshot_seg.training.metrics import SegmentationMetrics, SegmentationReport
from weakshot_seg.training.step_guard import StepGuard
from weakshot_seg.training.trainer import make_trainer
from weakshot_seg.utils.recipe import Recipe

SPLIT = ClassSplit(("sky", "grass", "cat"), (2,))
SIZES = ((20, 30), (40, 24), (16, 16))


class Batches(Dataset):
    """Training batches, and validation images of three sizes, two of them in the first batch."""

    def __init__(self, part: str, length: int) -> None:
        self.part, self.length = part, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if self.part == "training":
            return torch.full((1,), float(index))
        which = ((0, 1), (2,))[index]
        rng = np.random.default_rng(index)
        truths = [torch.from_numpy(rng.choice([0, 1, 2, IGNORE], SIZES[i]).astype(np.uint8)) for i in which]
        image = torch.full((3, 32, 48), 7 + index, dtype=torch.uint8)  # half as large again as the first truth
        return [EvalSample(image, truth, f"part/im age{i}.jpg") for i, truth in zip(which, truths, strict=True)]


class Toy(pl.LightningModule):
    """What the callbacks need of a :class:`WeakShotModule`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.frozen = torch.nn.BatchNorm1d(1).eval()
        self.class_split = SPLIT
        self.metrics = SegmentationMetrics(SPLIT)
        self.report: SegmentationReport | None = None
        self.report_step = -1
        self.guard = StepGuard()
        self.guard.reported = 2
        data = {"supervision": "weakshot", "label_scope": "image"}
        self.recipe = Recipe(name="toy", split=3, stage="first", seed=0, data=data)
        self.seen: list[float] = []
        self.validated: list[int] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.seen.append(batch.item())
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: list[EvalSample], batch_idx: int) -> dict[str, Any]:
        truths = [sample.truth for sample in batch]
        predictions = [torch.full_like(truth, 2) for truth in truths]
        self.metrics.update(predictions, truths)
        return {"predictions": predictions}

    def on_validation_epoch_end(self) -> None:
        self.report, self.report_step = self.metrics.report(), self.global_step
        self.validated.append(self.global_step)
        self.metrics.reset()
        self.log("val/base_iou", self.report.base_iou)
        self.log("val/novel_iou", self.report.novel_iou)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


def fit(folder: Path, *callbacks: pl.Callback, steps: int = 5, resume: Path | None = None, **options: Any) -> Toy:
    settings = {
        "_target_": "pytorch_lightning.Trainer",
        "max_steps": steps,
        "accelerator": "cpu",
        "val_check_interval": 2,
        "check_val_every_n_epoch": None,
        "enable_checkpointing": any(isinstance(callback, LastCheckpoint) for callback in callbacks),
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(callback, TrainingProgress) for callback in callbacks),
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(folder),
    }
    arguments = {"logger": False, "plugins": [AtomicCheckpointIO()], "callbacks": list(callbacks)} | options
    plain = {name: arguments.pop(name) for name in [*arguments] if isinstance(arguments[name], int | float)}
    trainer = make_trainer(OmegaConf.create(settings | plain), **arguments)
    loaders = (DataLoader(Batches(part, n), batch_size=None) for part, n in (("training", 20), ("validation", 2)))
    toy = Toy()
    trainer.fit(toy, *loaders, ckpt_path=resume, weights_only=True)
    return toy


@pytest.mark.parametrize(
    ("interval", "accumulate", "validated"), [(2, 1, [2, 4]), (2, 4, [2, 4]), (0.6, 2, [3]), (1.0, 1, [5])]
)
def test_validations_are_counted_in_steps(interval, accumulate, validated, tmp_path):
    assert fit(tmp_path, accumulate_grad_batches=accumulate, val_check_interval=interval).validated == validated


def test_a_training_prints_one_line_of_progress_and_no_advice(tmp_path, capfd, recwarn, monkeypatch):
    """Also of a network with frozen layers, of few batches, without workers; after resuming, in a used folder."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    last = LastCheckpoint(str(tmp_path), every_n_steps=3)
    options: dict[str, Any] = {"logger": CSVLogger(tmp_path), "log_every_n_steps": 50}
    fit(tmp_path, TrainingProgress(refresh_rate=1), last, steps=4, val_check_interval=3, **options)
    first = capfd.readouterr()
    fit(tmp_path, TrainingProgress(2), LastCheckpoint(str(tmp_path)), resume=tmp_path / "last.ckpt", **options)
    second = capfd.readouterr()
    assert [str(warning.message) for warning in recwarn] == []
    assert first.err == second.err == ""
    for printed, begin, end in ((first.out, "training   0/4 |", "4/4 |"), (second.out, "training   4/5 |", "5/5 |")):
        states = printed.replace("\n", "\r").split("\r")
        shown = [state.strip("\x1b[A ") for state in states if state.strip("\x1b[A ")]
        assert shown[0].startswith(begin)
        assert end in shown[-1]
        assert re.search(r"steps/s, loss [\d.]+(, base IoU 0.0, novel IoU [\d.]+)?$", shown[-1])
        assert max(map(len, shown)) <= 100
        assert printed.count("\n") == 1
    assert "base IoU" in second.out


def test_files_of_a_validation(tmp_path):
    """The measured numbers, panels of the first images, the scores of all."""
    metrics = MetricsFile(str(tmp_path / "new" / "folder"))
    pictures = (PredictionPanels(str(tmp_path / "pictures"), num_images=2), RankedImages(str(tmp_path), num_images=1))
    toy = fit(tmp_path, metrics, *pictures)
    content = json.loads((tmp_path / "new" / "folder" / "metrics.json").read_text())
    facts = {"name": "toy", "split": 3, "stage": "first", "seed": 0, "supervision": "weakshot", "label_scope": "image"}
    assert content.items() >= {**facts, "step": 4, "skipped_steps": 2, "novel_classes": ["cat"]}.items()
    assert content.items() >= toy.report.to_dict().items()
    assert content["base_iou"] == 0 < content["novel_iou"] < 100
    assert content["seconds"] >= 0
    metrics.load_state_dict({"seconds": 1000.0})  # of the sessions before
    assert 1000 <= metrics.state_dict()["seconds"] < 1100
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == ["00_part_im_age0.jpg.png", "01_part_im_age1.jpg.png"]
    with Image.open(tmp_path / "pictures" / files[0]) as picture:
        assert picture.width > 3 * 320
    rows = (tmp_path / "image_scores.csv").read_text().splitlines()
    assert rows[0] == "image,miou,panel"
    assert [row.split(",")[0] for row in rows[1:]] == [f"part/im age{i}.jpg" for i in range(3)]
    assert {path.stem for path in (tmp_path / "ranked").iterdir()} == {"best_1", "median_1", "worst_1"}


def test_panels_show_the_image_without_padding():
    sample = Batches("validation", 2)[0][1]
    image = ValidatedImage.of(sample, sample.truth).photo
    assert image.shape == (*SIZES[1], 3)
    assert (image == 7).all()


def rank(folder: Path, scores: list[float], num_images: int) -> RankedImages:
    """One validation of 100-pixel images of which the given percentages are right."""
    callback, trainer, toy = RankedImages(str(folder), num_images), pl.Trainer(logger=False, accelerator="cpu"), Toy()
    callback.on_validation_start(trainer, toy)
    for number, score in enumerate(scores):
        truth = torch.zeros(10, 10, dtype=torch.uint8)
        prediction = (torch.arange(100) >= score).view(10, 10).to(torch.uint8)
        batch = [EvalSample(torch.zeros(3, 10, 10, dtype=torch.uint8), truth, f"=image, {number}")]
        callback.on_validation_batch_end(trainer, toy, {"predictions": [prediction]}, batch, number)
    callback.on_validation_end(trainer, toy)
    return callback


def ranked(folder: Path) -> dict[str, float]:
    with (folder / "image_scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["image"].startswith("'=image, ") for row in rows)  # no formulas of a spreadsheet
    shown = {Path(row["panel"]).stem: float(row["miou"]) for row in rows if row["panel"]}
    assert sorted(shown) == sorted(path.stem for path in (folder / "ranked").iterdir())
    return shown


@pytest.mark.parametrize("order", ["random", "ascending", "descending", "equal"])
def test_best_and_worst_images_are_found_among_many_while_few_are_kept(order, tmp_path):
    scores = np.random.default_rng(0).permutation(np.arange(2000) % 101).tolist()
    orders = {"random": scores, "ascending": sorted(scores), "descending": sorted(scores)[::-1], "equal": [7] * 99}
    scores = orders[order]
    callback = rank(tmp_path, scores, 2)
    assert len(callback._kept) == 3 * KEPT * 2
    shown = ranked(tmp_path)
    assert shown["best_1"] == shown["best_2"] == max(scores)
    assert shown["worst_1"] == shown["worst_2"] == min(scores)
    if order == "random":
        assert shown["median_1"] == pytest.approx(50, abs=2)


def test_few_images_are_ranked_exactly_and_old_panels_go(tmp_path):
    rank(tmp_path, [50, 10, 90, 30, 70, 60, 20], 2)
    best, worst = {"best_1": 90, "best_2": 70}, {"worst_1": 10, "worst_2": 20}
    assert ranked(tmp_path) == best | worst | {"median_1": 50, "median_2": 30}  # as near as 60
    rank(tmp_path, [50, 10], 2)
    assert ranked(tmp_path) == {"best_1": 50, "worst_1": 10}


def test_last_checkpoint_is_kept_at_the_interval_and_at_the_end(tmp_path):
    saved: list[int] = []

    class Spy(AtomicCheckpointIO):
        def save_checkpoint(self, checkpoint: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            super().save_checkpoint(checkpoint, *args, **kwargs)
            saved.append(checkpoint["global_step"])

    fit(tmp_path, LastCheckpoint(str(tmp_path), every_n_steps=3), plugins=[Spy()])
    # before and after each validation: in the first it may be interrupted, the second knows a new best score
    assert saved == [2, 2, 3, 4, 4, 5]
    steps = {path.name: torch.load(path, weights_only=True)["global_step"] for path in tmp_path.iterdir()}
    assert steps == {"last.ckpt": 5, "previous.ckpt": 4}


def test_an_interrupted_checkpoint_keeps_the_former_one(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": torch.tensor(1)}, path)

    def fail(checkpoint: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint({"step": torch.tensor(2)}, path)
    assert AtomicCheckpointIO().load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_wandb_run_is_continued_only_when_resumed(tmp_path):
    first = ResilientWandbLogger(str(tmp_path), mode="offline").version
    assert ResilientWandbLogger(str(tmp_path), resume=True, mode="offline").version == first
    assert ResilientWandbLogger(str(tmp_path), mode="offline").version != first
    assert ResilientWandbLogger(str(tmp_path / "other"), resume=True, mode="offline").version


@pytest.mark.parametrize(("accumulate", "first"), [(1, 0), (2, 3)])
def test_the_time_left_is_told_after_some_steps(accumulate, first, tmp_path, caplog, monkeypatch):
    """Of a clock that goes on by 10 s with every batch but the first, which takes an hour."""
    clock = iter(range(10**6))
    monkeypatch.setattr(time_estimate.time, "monotonic", lambda: 0.0)

    class Clock(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            now = 3600 + 10 * next(clock)
            monkeypatch.setattr(time_estimate.time, "monotonic", lambda: float(now))

    last = LastCheckpoint(str(tmp_path), every_n_steps=1)
    if first:
        fit(tmp_path, last, steps=first, accumulate_grad_batches=accumulate)
    checkpoint = tmp_path / "last.ckpt" if first else None
    with caplog.at_level(logging.INFO):
        callbacks = (Clock(), time_estimate.TimeEstimate(after=5), last)
        fit(tmp_path, *callbacks, steps=first + 7, resume=checkpoint, accumulate_grad_batches=accumulate)
    (line,) = [record.getMessage() for record in caplog.records if "steps (" in record.getMessage()]
    seconds = 10 * accumulate
    assert f"for the other 2 steps ({seconds:.2f} s each)" in line
    assert line.startswith(f"{2 * seconds} seconds")


def test_durations_in_words():
    words = [time_estimate.duration(seconds) for seconds in (0.2, 89, 91, 840, 7100, 9000)]
    assert words == ["1 seconds", "89 seconds", "2 minutes", "14 minutes", "118 minutes", "2.5 hours"]
