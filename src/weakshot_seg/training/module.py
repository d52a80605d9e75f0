"""Training and validation steps, optimiser, and what a checkpoint holds besides weights."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from weakshot_seg.data.evaluation import EvalSample
from weakshot_seg.inference.semantic import Inference, WholeImage, best_class
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.models.norms import enough_values
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import ClassSplit, WeakBatch
from weakshot_seg.training.metrics import SegmentationMetrics, SegmentationReport, on_host
from weakshot_seg.training.optim import PolyAdamW
from weakshot_seg.training.provenance import git_commit, library_versions
from weakshot_seg.training.step_guard import StepGuard
from weakshot_seg.training.teacher import OnlineTeacher
from weakshot_seg.utils.recipe import VERSION, Recipe


class WeakShotModule(pl.LightningModule):
    """Trains a proposal network on weak-shot batches and measures base and novel IoU.

    Args:
        model: images ``[B, 3, H, W]`` -> :class:`SegOutput`.
        criterion: (output, targets) -> :class:`Losses`.
        optimizer: builds optimiser and schedule.
        recipe: settings to rebuild the module from; stored in checkpoints.
        seed: of dropout and of the sampling in the losses.
    """

    def __init__(
        self,
        model: SimFormer,
        criterion: Criterion,
        optimizer: PolyAdamW,
        class_split: ClassSplit,
        recipe: Recipe | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion
        self.optimizer = optimizer
        self.class_split = class_split
        self.recipe = recipe or Recipe()
        self.seed = seed
        self.metrics = SegmentationMetrics(class_split)
        self.report: SegmentationReport | None = None  # the latest validation result
        self.report_step = -1  # optimiser steps done when it was measured
        self.trained_steps = 0  # of the checkpoint the weights came from
        self.inference: Inference = WholeImage()  # how validation and prediction apply the network to images
        self.guard = StepGuard()
        self.teacher: OnlineTeacher | None = None  # of a training: labels what images leave open

    def learn_from(self, teacher: OnlineTeacher) -> None:
        """Trains with the maps of a teacher, too, which follows the network."""
        teacher.attach(self.model, self.class_split.num_classes)
        self.teacher = teacher

    def on_train_start(self) -> None:
        """Sets up the guard, and the learning rates of the next step: a finished training that is resumed had 0."""
        self.guard.start(self.model, self.criterion, device=self.device)
        for config in self.trainer.lr_scheduler_configs:
            schedule = cast(LambdaLR, config.scheduler)
            rates = zip(schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True)
            for group, rate, factor in rates:
                group["lr"] = rate * factor(schedule.last_epoch)

    def on_train_batch_start(self, batch: WeakBatch, batch_idx: int) -> None:
        """Seeds by the number of the batch and the rank, so that a resumed run draws what it would have drawn."""
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        self.guard.begin(self.global_step, rate, batch.names)
        torch.manual_seed(random.Random(f"{self.seed} {batch_idx} {self.global_rank}").getrandbits(63))

    def training_step(self, batch: WeakBatch, batch_idx: int) -> Tensor:
        """One step; where loggers write, also ``train/<term>/<part>``, the same ``weighted``, and diagnostics."""
        targets = batch.targets
        if self.teacher is not None:
            progress = self.global_step / int(self.trainer.estimated_stepping_batches)
            targets = self.teacher(batch.images, targets, progress)
        with enough_values():
            losses = self.criterion(self.model(batch.images), targets)
        if self.logs_this_step:
            weighted = {f"weighted/{name}": value for name, value in losses.weighted.items()}
            values = {"loss": losses.total, **losses.parts, **weighted, **self.criterion.diagnostics()}
            self.log_dict({f"train/{name}": value for name, value in values.items()}, batch_size=len(batch.images))
        return self.guard.watch(losses.total, losses.parts)

    @property
    def logs_this_step(self) -> bool:
        """Whether the loggers write after this step (Lightning's rule, before the step is counted)."""
        return self._logs_after(self.global_step + 1)

    def _logs_after(self, steps: int) -> bool:
        # Lightning sets it without declaring it; where loggers never write (0), the guard needs some
        return steps % (getattr(self.trainer, "log_every_n_steps", 1) or 50) == 0

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips the gradients, skips the step if they are not finite, logs their norm before and the learning rates."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        self.guard.decide(norm, optimizer)
        if self.logs_this_step:
            self.log_dict({"train/grad_norm": norm, "train/skipped_steps": self.guard.skipped.float()})
            self.log_dict({f"lr-AdamW/{group['name']}": group["lr"] for group in optimizer.param_groups})
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def on_before_zero_grad(self, optimizer: Optimizer) -> None:
        """Once a step, before the next one: lets the teacher follow."""
        if self.teacher is not None:
            self.teacher.follow(self.model, self.global_step)

    def on_train_batch_end(self, *_: Any) -> None:
        """Lets the guard report where the loggers wait for the device anyway."""
        if self._logs_after(self.global_step):
            self.guard.report()

    def validation_step(self, batch: Sequence[EvalSample], batch_idx: int) -> dict[str, Any]:
        """Predicts label maps at the original sizes and counts them; callbacks get ``predictions``, on the CPU.

        In float32 whatever the precision of the training, as ``weakshot predict``: the numbers are those of its maps.
        """
        with torch.autocast(self.device.type, enabled=False):
            predictions = on_host(self.predict_step(batch))
        self.metrics.update(predictions, [sample.truth for sample in batch])
        return {"predictions": predictions}

    def predict_step(self, batch: Sequence[EvalSample], batch_idx: int = 0) -> list[Tensor]:
        """uint8 label maps ``[h_i, w_i]`` at the original sizes, of the candidate classes of each image."""
        network, maps = partial(self.model, last_only=True), []
        for image, truth, _, candidates in batch:
            scores = self.inference(network, image.to(self.device, non_blocking=True))
            maps.append(best_class(scores, (truth.shape[0], truth.shape[1]), candidates)[0])
        return maps

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/base_iou``, ... in percent, and ``val/score``: novel IoU, or mIoU if no novel class is there."""
        self.report = self.metrics.report()
        self.metrics.reset()
        self.report_step = max(self.global_step, self.trained_steps)
        score = self.report.miou if self.report.novel_iou is None else self.report.novel_iou
        self.log("val/score", score or 0.0, rank_zero_only=True)
        for name, value in self.report.summary().items():
            if value is not None:
                self.log(f"val/{name}", value, rank_zero_only=True)

    def on_train_end(self) -> None:
        """Lets the guard report; makes an empty report if there is nothing to validate on."""
        self.guard.report()
        if not self.trainer.enable_validation:
            self.report = SegmentationReport.from_confusion(self.metrics.confusion, self.class_split)
            self.report_step = self.global_step

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW and its per-step poly schedule over the whole run."""
        fused = self.trainer.precision != "16-mixed"  # its GradScaler would have to clip before it unscales
        optimizer, schedule = self.optimizer.build(self, int(self.trainer.estimated_stepping_batches), fused)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to use the weights elsewhere: recipe, classes, normalisation, and what code made them."""
        checkpoint["weakshot_seg"] = {
            "version": VERSION,
            "recipe": self.recipe.to_dict(),
            "class_names": list(self.class_split.names),
            "novel": list(self.class_split.novel),
            "label_scope": self.recipe.data.get("label_scope"),
            "mean": self.model.mean.flatten().tolist(),  # of RGB 0..255
            "std": self.model.std.flatten().tolist(),
            "versions": library_versions(),
            "git_commit": git_commit(),
            "skipped_steps": int(self.guard.skipped),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on counting skipped steps."""
        self.guard.skipped.fill_(checkpoint["weakshot_seg"].get("skipped_steps", 0))
