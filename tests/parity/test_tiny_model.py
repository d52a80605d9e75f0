"""The whole tiny model: outputs, training losses and gradient norms of every parameter.

Our network runs in float64 here, so that only the rounding of the stored float32 numbers is left.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from weakshot_seg.inference.semantic import resized_scores
from weakshot_seg.losses.classification import ClassificationLoss
from weakshot_seg.losses.complement import ComplementLoss
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.mask import MaskLoss
from weakshot_seg.losses.matcher import HungarianMatcher
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import WeakTargets

Compare = Callable[..., None]
ReadTargets = Callable[..., WeakTargets]
Rename = Callable[[str], str]

STAGES = ("res2", "res3", "res4", "res5")
NORM_PARTS = ("running_mean", "running_var", "weight", "bias")


class PlainResNet(nn.Module):
    """The authors' ResNet straight from a state dict, with frozen BatchNorm (stride in the 3x3 convolution)."""

    mean = (123.675 / 255, 116.28 / 255, 103.53 / 255)
    std = (58.395 / 255, 57.12 / 255, 57.375 / 255)

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.blocks = {stage: len({k.split(".")[1] for k in state if k.startswith(stage)}) for stage in STAGES}
        self.channels = tuple(len(state[f"{stage}.0.conv3.weight"]) for stage in STAGES)
        for name, value in state.items():
            if "norm" in name:
                self.register_buffer(name.replace(".", "/"), value)
            else:
                self.register_parameter(name.replace(".", "/"), nn.Parameter(value.clone()))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = getattr(self, f"{name}.weight".replace(".", "/"))
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        norm = [getattr(self, f"{name}.norm.{part}".replace(".", "/")) for part in NORM_PARTS]
        return F.batch_norm(x, *norm, eps=1e-5)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.conv("stem.conv1", images, stride=2).relu(), 3, stride=2, padding=1)
        levels = []
        for stage in STAGES:
            for block in range(self.blocks[stage]):
                name = f"{stage}.{block}"
                stride = 2 if block == 0 and stage != "res2" else 1
                y = self.conv(f"{name}.conv1", x).relu()
                y = self.conv(f"{name}.conv2", y, stride).relu()
                y = self.conv(f"{name}.conv3", y)
                changes = hasattr(self, f"{name}.shortcut.weight".replace(".", "/"))
                x = (y + (self.conv(f"{name}.shortcut", x, stride) if changes else x)).relu()
            levels.append(x)
        return levels


def build(weights: dict[str, Tensor], our_name: Rename) -> SimFormer:
    """Our model of the sizes in the file, with its weights, loaded strictly."""
    backbone = {k.removeprefix("backbone."): v for k, v in weights.items() if k.startswith("backbone.")}
    rest = {our_name(k): v for k, v in weights.items() if k.startswith("sem_seg_head.")}
    model = SimFormer(
        num_classes=len(rest["head.classify.bias"]) - 1,
        backbone=PlainResNet(backbone),  # type: ignore[arg-type]
        num_queries=len(rest["query_decoder.queries.weight"]),
        dim=rest["query_decoder.queries.weight"].shape[1],
        pixel_dim=rest["pixel_decoder.embed.weight"].shape[1],
        embedding_dim=rest["pixel_decoder.embed.weight"].shape[0],
        num_layers=sum(k.endswith("linear1.weight") for k in rest),
        num_heads=4,
        ffn_dim=len(rest["query_decoder.layers.0.linear1.bias"]),
        dropout=0.0,
        memory_stride=32,
    )
    ours = model.state_dict()
    assert set(rest) == {k for k in ours if not k.startswith("backbone.")}
    model.load_state_dict({**ours, **rest})
    return model


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tensors = load_file(path)
    weights = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    return weights, {k: v for k, v in tensors.items() if not k.startswith("sd.")}


@torch.no_grad()
def test_head_on_the_stored_features(tiny_path: Path, our_name: Rename, compare: Compare) -> None:
    weights, stored = read(tiny_path)
    model = build(weights, our_name).double().eval()
    images = sorted({k.split(".")[0] for k in stored if ".feat." in k})
    assert images
    for image in images:
        features = [stored[f"{image}.feat.{stage}"].double() for stage in STAGES]
        embeddings, _ = model.pixel_decoder(features)
        compare(tiny_path, embeddings, stored[f"{image}.feat.mask_features"])
        class_logits, mask_embeddings = model.head(model.query_decoder(features[-1]))
        masks = torch.einsum("lbqc,bchw->lbqhw", mask_embeddings, embeddings)
        layers = [*(f"aux{i}." for i in range(len(class_logits) - 1)), ""]
        for number, layer in enumerate(layers):
            compare(tiny_path, class_logits[number], stored[f"{image}.{layer}pred_logits"])
            compare(tiny_path, masks[number], stored[f"{image}.{layer}pred_masks"], summed=True)


@torch.no_grad()
def test_whole_model_from_pixels_to_scores(tiny_path: Path, our_name: Rename, compare: Compare) -> None:
    weights, stored = read(tiny_path)
    model = build(weights, our_name).double().eval()
    images = sorted(k.split(".")[0] for k in stored if k.endswith(".image_uint_range"))
    assert images
    for image in images:
        pixels = stored[f"{image}.image_uint_range"].double()
        height, width = (4 * n for n in stored[f"{image}.pred_masks"].shape[-2:])
        content = (pixels.shape[1], pixels.shape[2])
        padded = 255 * model.mean.expand(3, height, width).clone()  # 0 after normalisation
        padded[:, : content[0], : content[1]] = pixels
        output = model(padded[None])
        for number in range(len(output.class_logits)):
            layer = "" if number == len(output.class_logits) - 1 else f"aux{number}."
            compare(tiny_path, output.class_logits[number], stored[f"{image}.{layer}pred_logits"])
            compare(tiny_path, output.mask_logits[number], stored[f"{image}.{layer}pred_masks"], summed=True)
        expected = stored[f"{image}.sem_seg"]
        size = (expected.shape[1], expected.shape[2])
        compare(tiny_path, resized_scores(output, 0, (height, width), content, size), expected)


def their_norms(model: SimFormer, our_name: Rename, names: list[str]) -> dict[str, float | None]:
    """Gradient norm of every parameter under the authors' names."""
    ours = dict(model.named_parameters())
    result: dict[str, float | None] = {}
    for name in names:
        if name.startswith("backbone."):
            parameter = ours.get("backbone." + name.removeprefix("backbone.").replace(".", "/"))
        else:
            parameter = ours.get(our_name(name))
        gradient = None if parameter is None else parameter.grad
        result[name] = None if gradient is None else gradient.norm().item()
    return result


def test_training_step(step_path: Path, our_name: Rename, read_targets: ReadTargets, compare: Compare) -> None:
    seed = step_path.stem.rsplit("_", 1)[1]
    weights, _ = read(step_path.with_name(f"tiny_model_{seed}.safetensors"))
    model = build(weights, our_name).double().train()
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
    ours = their_norms(model, our_name, list(norms))
    assert {name for name, v in ours.items() if v is None} == {name for name, v in norms.items() if v is None}
    trained = [name for name, v in norms.items() if v is not None]
    assert len(trained) == len(list(model.parameters()))
    total = sum(norms[name] ** 2 for name in trained) ** 0.5
    zero = [name for name in trained if ours[name] < 1e-9 * total]  # where they have rounding noise
    assert all(norms[name] < 1e-6 * total for name in zero)
    rest = [name for name in trained if name not in zero]
    compare(step_path, [ours[name] for name in rest], [norms[name] for name in rest])
