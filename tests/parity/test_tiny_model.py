"""The whole tiny model: outputs, training losses and gradient norms of every parameter.

Our network runs in float64 here, so that only the rounding of the stored float32 numbers is left.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from parity.golden import compare, our_name, read_targets
from weakshot_seg.conversion.detectron2 import from_detectron2
from weakshot_seg.conversion.matching import match
from weakshot_seg.conversion.sizes import backbone_settings, model_settings, num_classes
from weakshot_seg.inference.semantic import scores_of
from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.terms import ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import SegOutput

STAGES = ("res2", "res3", "res4", "res5")


class Stored(nn.Module):
    """The stored features in the place of a backbone."""

    mean = std = (0.0, 0.0, 0.0)

    def __init__(self, features: list[Tensor]) -> None:
        super().__init__()
        self.features = features
        self.channels = tuple(feature.shape[1] for feature in features)

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.features


def make_backbone(tensors: dict[str, Tensor]) -> TimmBackbone:
    """The paper's backbone, timm's ResNet with frozen BatchNorm, with the file's channels.

    timm's stem always has 64 channels; the tiny one has fewer, and so many that the first block needs no shortcut.
    """
    backbone = TimmBackbone(**backbone_settings(tensors), freeze_norm=True)
    net, first = backbone.net, backbone.net.layer1[0]
    stem, inner = (tensors[f"backbone.net.{name}.weight"] for name in ("conv1", "layer1.0.conv1"))
    net.conv1 = nn.Conv2d(3, len(stem), 7, stride=2, padding=3, bias=False)
    net.bn1 = nn.BatchNorm2d(len(stem)).requires_grad_(False)
    first.conv1 = nn.Conv2d(len(stem), len(inner), 1, bias=False)
    if "backbone.net.layer1.0.downsample.0.weight" not in tensors:
        first.downsample = None
    return backbone


def build(weights: dict[str, Tensor], features: list[Tensor] | None = None) -> SimFormer:
    """Our model of the sizes in the file, with its weights and nothing missing; ``features`` replace the backbone."""
    source = from_detectron2(weights)
    assert not source.unexpected
    settings: dict[str, Any] = model_settings(source.tensors) | {"num_heads": 4, "dropout": 0.0}
    settings["backbone"] = make_backbone(source.tensors) if features is None else Stored(features)
    model = SimFormer(num_classes(source.tensors) or 0, **settings)
    ours = model.state_dict()
    wanted = {n: t for n, t in source.tensors.items() if features is None or not n.startswith("backbone.")}
    tensors, report = match(ours, wanted, source, [name for name in ours if name.endswith("num_batches_tracked")])
    assert report.complete, report.text()
    model.load_state_dict(tensors)
    return model


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tensors = load_file(path)
    weights = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    return weights, {k: v for k, v in tensors.items() if not k.startswith("sd.")}


def compare_layers(path: Path, output: SegOutput, stored: dict[str, Tensor], image: str) -> None:
    layers = [*(f"aux{i}." for i in range(len(output.class_logits) - 1)), ""]
    for number, layer in enumerate(layers):
        compare(path, output.class_logits[number], stored[f"{image}.{layer}pred_logits"])
        compare(path, output.mask_logits[number], stored[f"{image}.{layer}pred_masks"], summed=True)


@torch.no_grad()
def test_head_on_the_stored_features(tiny_path: Path) -> None:
    weights, stored = read(tiny_path)
    images = sorted({k.split(".")[0] for k in stored if ".feat." in k})
    assert images
    for image in images:
        features = [stored[f"{image}.feat.{stage}"].double() for stage in STAGES]
        output = build(weights, features).double().eval()(torch.zeros(1, 3, 1, 1, dtype=torch.float64))
        compare(tiny_path, output.pixel_embeddings, stored[f"{image}.feat.mask_features"])
        compare_layers(tiny_path, output, stored, image)


@torch.no_grad()
def test_backbone_features(tiny_path: Path) -> None:
    """timm's ResNet is the authors': stride in the 3x3 convolution, 7x7 stem, frozen BatchNorm."""
    weights, stored = read(tiny_path)
    model = build(weights)
    for image in sorted({k.split(".")[0] for k in stored if ".feat." in k}):
        images = stored[f"{image}.image_uint_range"][None].double()
        levels = model.double().eval().backbone((images / 255 - model.mean) / model.std)
        for stage, level in zip(STAGES, levels, strict=True):
            compare(tiny_path, level, stored[f"{image}.feat.{stage}"])


@torch.no_grad()
def test_whole_model_from_pixels_to_scores(tiny_path: Path) -> None:
    weights, stored = read(tiny_path)
    model = build(weights).double().eval()
    images = sorted(k.split(".")[0] for k in stored if k.endswith(".image_uint_range"))
    assert images
    for image in images:
        pixels = stored[f"{image}.image_uint_range"].double()
        height, width = (4 * n for n in stored[f"{image}.pred_masks"].shape[-2:])
        content = (pixels.shape[1], pixels.shape[2])
        padded = 255 * model.mean.expand(3, height, width).clone()  # 0 after normalisation
        padded[:, : content[0], : content[1]] = pixels
        output = model(padded[None])
        compare_layers(tiny_path, output, stored, image)
        expected = stored[f"{image}.sem_seg"]
        size = (expected.shape[1], expected.shape[2])
        compare(tiny_path, scores_of(output, (height, width), [content])[0](slice(None), size), expected)


def their_norms(model: SimFormer, names: list[str]) -> dict[str, float | None]:
    """Gradient norm of every parameter under the authors' names."""
    ours = dict(model.named_parameters())
    found = {name: None if name.startswith("criterion.") else ours.get(our_name(name)) for name in names}
    return {name: None if p is None or p.grad is None else p.grad.norm().item() for name, p in found.items()}


def test_training_step(step_path: Path) -> None:
    seed = step_path.stem.rsplit("_", 1)[1]
    weights, _ = read(step_path.with_name(f"tiny_model_{seed}.safetensors"))
    model = build(weights).double().train()
    arrays = np.load(step_path)
    targets = read_targets(arrays, model.num_classes)
    images = torch.stack([torch.from_numpy(arrays[f"image{i}"]) for i in range(len(targets.counts))])
    assert (images[targets.padding[:, None].expand_as(images)] == 128).all()
    terms = {"cls_a": ClassificationLoss(), "mask": MaskLoss(), "comp": ComplementLoss(weight=0.2)}
    criterion = Criterion(HungarianMatcher(), terms)
    output = model(images)

    assigned = criterion.assignment(output.float(), targets).queries
    layers = [*(f"aux{i}" for i in range(len(assigned) - 1)), "main"]
    for number, layer in enumerate(layers):
        for image, count in enumerate(targets.counts):
            queries = torch.zeros(count, dtype=torch.int64)
            slots = torch.from_numpy(arrays[f"match_{layer}_b{image}_target"])
            queries[slots] = torch.from_numpy(arrays[f"match_{layer}_b{image}_query"])
            assert torch.equal(assigned[number, image, :count], queries)

    losses = criterion(output, targets)
    suffixes = ["", *(f"_{i}" for i in range(len(assigned) - 1))]

    def stored(name: str) -> float:
        return sum(float(arrays[f"WL_loss_{name}{suffix}"]) for suffix in suffixes)

    parts = losses.parts
    compare(step_path, parts["cls_a/cross_entropy"], stored("cls_a"))
    compare(step_path, 20 * parts["mask/focal"], stored("mask_m"))
    compare(step_path, parts["mask/dice"], stored("mask_d"))
    compare(step_path, 0.2 * (20 * parts["comp/focal"] + parts["comp/dice"]), stored("comp"))
    compare(step_path, losses.total, arrays["total"])

    losses.total.backward()
    norms = json.loads(step_path.with_name(f"{step_path.stem}_grad_norms.json").read_text())
    ours = their_norms(model, list(norms))
    assert {name for name, v in ours.items() if v is None} == {name for name, v in norms.items() if v is None}
    trained = [name for name, v in norms.items() if v is not None]
    assert len(trained) == sum(p.requires_grad for p in model.parameters())
    total = sum(norms[name] ** 2 for name in trained) ** 0.5
    zero = [name for name in trained if ours[name] < 1e-9 * total]  # where they have rounding noise
    assert all(norms[name] < 1e-6 * total for name in zero)
    rest = [name for name in trained if name not in zero]
    compare(step_path, [ours[name] for name in rest], [norms[name] for name in rest])
