"""What the step benchmark compares: our network with some or all loss terms, and the MaskFormer of transformers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from transformers import MaskFormerConfig, MaskFormerForInstanceSegmentation
from transformers.models.maskformer.image_processing_maskformer import MaskFormerImageProcessor

from benchmarks.timing import PhaseTimer
from benchmarks.workload import Workload
from weakshot_seg.inference.semantic import best_class, scores_of
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import WeakTargets
from weakshot_seg.training.teacher import OnlineTeacher

CLIP = 0.01


class Contestant(ABC):
    """A network with its optimiser.

    Attributes:
        name: row of the table.
        timer: phases of the last steps, when it is switched on.
    """

    def __init__(self, name: str, module: nn.Module, work: Workload, precision: str, clock: str) -> None:
        self.name = name
        self.module = module
        self.work = work
        self.precision = precision
        self.timer = PhaseTimer(work.images.device, clock)
        self.optimizer = AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-5, fused=True)

    @abstractmethod
    def loss(self) -> Tensor:
        """Forward pass and criterion."""

    @abstractmethod
    def predict(self) -> list[Tensor]:
        """Label maps ``[H, W]`` of the images, one image at a time."""

    def autocast(self) -> torch.autocast:
        """bf16 autocast, or none."""
        return torch.autocast(self.work.images.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def step(self) -> None:
        """One training step: forward, backward, clipping, AdamW."""
        loss = self.loss()
        with self.timer.phase("backward"):
            loss.backward()
        with self.timer.phase("optimiser"):
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, CLIP)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def resident_bytes(self) -> int:
        """Weights, buffers and optimiser states."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        tensors += [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


class Ours(Contestant):
    """SimFormer with a criterion.

    Args:
        name: row of the table.
        model: the network.
        criterion: assignment and terms.
        targets: what the criterion gets.
        work: the images.
        precision: "32" or "bf16".
        clock: "wall" or "cpu".
        teacher: labels what the targets leave open.
    """

    def __init__(
        self,
        name: str,
        model: SimFormer,
        criterion: Criterion,
        targets: WeakTargets,
        work: Workload,
        precision: str,
        clock: str,
        teacher: OnlineTeacher | None = None,
    ) -> None:
        super().__init__(name, nn.ModuleList([model, criterion]).train().to(work.images.device), work, precision, clock)
        self.model, self.criterion, self.targets, self.images = model, criterion, targets, work.images
        self.teacher = teacher
        if teacher is not None:
            teacher.attach(model, model.num_classes)
            self.timer.watch("teacher", teacher.to(work.images.device))
        parts = {"backbone": model.backbone, "pixel decoder": model.pixel_decoder, "query decoder": model.query_decoder}
        terms = {f"loss: {term}": module for term, module in criterion.terms.items()}
        for phase, module in {**parts, "matching": criterion.assignment, **terms}.items():
            self.timer.watch(phase, module)

    def loss(self) -> Tensor:
        """See :class:`Contestant`."""
        with self.autocast():
            targets = self.targets if self.teacher is None else self.teacher(self.images, self.targets, progress=1.0)
            return self.criterion(self.model(self.images), targets).total

    def step(self) -> None:
        """See :class:`Contestant`; the teacher follows."""
        super().step()
        if self.teacher is not None:
            with self.timer.phase("teacher"):
                self.teacher.follow(self.model, step=1000)

    @torch.inference_mode()
    def predict(self) -> list[Tensor]:
        """See :class:`Contestant`."""
        size = tuple(self.work.images.shape[-2:])
        maps = []
        for image in self.work.images:
            with self.autocast():
                output = self.model(image[None], last_only=True)
            maps += [best_class(scores, size)[0] for scores in scores_of(output, size, [size])]
        return maps


class SixLayers(MaskFormerForInstanceSegmentation):
    """Without the predictions of the queries before the first layer, which transformers also supervises: same work."""

    def get_logits(self, outputs):
        """Class and mask logits of the decoder layers."""
        if self.config.use_auxiliary_loss:
            outputs.transformer_decoder_hidden_states = outputs.transformer_decoder_hidden_states[1:]
        return super().get_logits(outputs)


class HuggingFace(Contestant):
    """MaskFormerForInstanceSegmentation with ResNet-50, frozen BatchNorm, all classes with masks.

    Args:
        work: images and masks.
        num_classes: ``K``.
        precision: "32" or "bf16".
        clock: "wall" or "cpu".
        compile: compile its parts by torch.compile.
        toy: a tiny one, to try a script.
    """

    def __init__(
        self, work: Workload, num_classes: int, precision: str, clock: str, compile: bool, toy: bool = False
    ) -> None:
        model = SixLayers(maskformer_config(num_classes, toy)).train()
        pixel, decoder = model.model.pixel_level_module, model.model.transformer_module
        for module in pixel.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
        super().__init__("Hugging Face", model.to(work.images.device), work, precision, clock)
        self.model = model
        parts = {"backbone": pixel.encoder, "pixel decoder": pixel.decoder, "query decoder": decoder}
        if compile:
            for module in (*parts.values(), model.class_predictor, model.mask_embedder):
                module.compile()
        for phase, module in {**parts, "matching": model.matcher}.items():
            self.timer.watch(phase, module)
        model.criterion.loss_masks = self._timed("loss: mask", model.criterion.loss_masks)
        model.criterion.loss_labels = self._timed("loss: classification", model.criterion.loss_labels)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.mean, self.std = (v.view(3, 1, 1).to(work.images.device) for v in (mean, std))

    def loss(self) -> Tensor:
        """See :class:`Contestant`."""
        self.model.config.use_auxiliary_loss = True
        with self.autocast():
            pixels = (self.work.images / 255 - self.mean) / self.std
            labels = {"mask_labels": self.work.masks, "class_labels": self.work.classes}
            return self.model(pixels, **labels, output_hidden_states=True).loss

    @torch.inference_mode()
    def predict(self) -> list[Tensor]:
        """See :class:`Contestant`. Only the last layer is computed; scores are made at stride 4 and then resized."""
        self.model.config.use_auxiliary_loss = False
        size = tuple(self.work.images.shape[-2:])
        maps = []
        for image in self.work.images:
            with self.autocast():
                output = self.model((image[None] / 255 - self.mean) / self.std, output_hidden_states=False)
            # the method uses nothing of the processor
            maps += MaskFormerImageProcessor.post_process_semantic_segmentation(None, output, [size])
        return maps

    def _timed(self, phase: str, function: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object) -> object:
            with self.timer.phase(phase):
                return function(*args)

        return timed


def maskformer_config(num_classes: int, toy: bool = False) -> MaskFormerConfig:
    """The paper's network in the words of transformers, or a tiny one."""
    dim = 32 if toy else 256
    return MaskFormerConfig(
        backbone_config={
            "model_type": "resnet",
            "embedding_size": 64,
            "hidden_sizes": [16, 16, 16, 16] if toy else [256, 512, 1024, 2048],
            "depths": [1, 1, 1, 1] if toy else [3, 4, 6, 3],
            "layer_type": "bottleneck",
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        decoder_config={
            "model_type": "detr",
            "d_model": dim,
            "decoder_layers": 2 if toy else 6,
            "decoder_ffn_dim": 32 if toy else 2048,
            "decoder_attention_heads": 8,
            "encoder_attention_heads": 8,
            "num_queries": 100,
            "dropout": 0.1,
            "attention_dropout": 0.1,
            "activation_dropout": 0.1,
        },
        fpn_feature_size=dim,
        mask_feature_size=dim,
        num_labels=num_classes,
        use_auxiliary_loss=True,
        no_object_weight=0.1,
        mask_weight=20.0,
        dice_weight=1.0,
    )
