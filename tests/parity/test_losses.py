"""Matcher, classification, mask and complement loss."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.terms import ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets

Compare = Callable[..., None]
ReadTargets = Callable[..., WeakTargets]


def layer_names(arrays: np.lib.npyio.NpzFile) -> list[str]:
    """Prefixes of the decoder layers, the last one first named "main": aux0, aux1, ..., main."""
    return [*sorted(m[1] for k in arrays.files if (m := re.fullmatch(r"(aux\d+)_pred_logits", k))), "main"]


def read_output(arrays: np.lib.npyio.NpzFile) -> SegOutput:
    def stack(field: str) -> Tensor:
        names = [field if layer == "main" else f"{layer}_{field}" for layer in layer_names(arrays)]
        return torch.stack([torch.from_numpy(arrays[n]) for n in names]).requires_grad_()

    masks = stack("pred_masks")
    return SegOutput(stack("pred_logits"), masks, torch.zeros(masks.shape[1], 1, *masks.shape[-2:]))


def stored_assignment(arrays: np.lib.npyio.NpzFile, targets: WeakTargets, correct_columns: bool) -> Assignment:
    """Query of every target slot, as stored or with columns mapped back to targets."""
    layers = layer_names(arrays)
    queries = torch.zeros(len(layers), *targets.classes.shape, dtype=torch.int64)
    for number, layer in enumerate(layers):
        for image in range(len(targets.counts)):
            slot = arrays[f"match_{layer}_b{image}_target"]
            if correct_columns:
                slot = arrays[f"cost_column_to_target_b{image}"][slot]
            queries[number, image, slot] = torch.from_numpy(arrays[f"match_{layer}_b{image}_query"])
    return Assignment(queries)


Case = tuple[np.lib.npyio.NpzFile, SegOutput, WeakTargets]


@pytest.fixture
def case(loss_path: Path, read_targets: ReadTargets) -> Case:
    arrays = np.load(loss_path)
    output = read_output(arrays)
    return arrays, output, read_targets(arrays, output.class_logits.shape[-1] - 1)


def test_cost(loss_path: Path, case: Case, compare: Compare) -> None:
    arrays, output, targets = case
    cost = HungarianMatcher().cost(output, targets)
    for number, layer in enumerate(layer_names(arrays)):
        for image in range(len(targets.counts)):
            columns = arrays[f"cost_column_to_target_b{image}"]
            compare(loss_path, cost[number, image][:, columns], arrays[f"cost_{layer}_b{image}"])


def test_assignment(case: Case) -> None:
    """Exact, also where the authors' code forgets to map columns back to targets (case D)."""
    arrays, output, targets = case
    assigned = HungarianMatcher()(output, targets).queries
    expected = stored_assignment(arrays, targets, correct_columns=True).queries
    for image, count in enumerate(targets.counts):
        assert torch.equal(assigned[:, image, :count], expected[:, image, :count])


def test_loss_of_every_layer(loss_path: Path, case: Case, compare: Compare) -> None:
    """With the stored assignment, so that case D counts too."""
    arrays, output, targets = case
    assignment = stored_assignment(arrays, targets, correct_columns=False)
    complement = ComplementLoss()
    for number, layer in enumerate(layer_names(arrays)):
        part = SegOutput(
            output.class_logits[number : number + 1], output.mask_logits[number : number + 1], output.pixel_embeddings
        )
        chosen = Assignment(assignment.queries[number : number + 1])
        suffix = "" if layer == "main" else f"_{layer.removeprefix('aux')}"
        classification = ClassificationLoss()(part, targets, chosen)
        compare(loss_path, classification["cross_entropy"], arrays[f"L_loss_cls_a{suffix}"])
        mask = MaskLoss()(part, targets, chosen)
        compare(loss_path, mask["focal"], arrays[f"L_loss_mask_m{suffix}"])
        compare(loss_path, mask["dice"], arrays[f"L_loss_mask_d{suffix}"])
        union = complement(part, targets, chosen)
        value = sum(complement.part_weights[name] * union[name] for name in union)
        compare(loss_path, value, arrays[f"L_loss_comp{suffix}"])


class Stored(torch.nn.Module):
    def __init__(self, assignment: Assignment) -> None:
        super().__init__()
        self.assignment = assignment

    def forward(self, output: SegOutput, targets: WeakTargets) -> Assignment:
        return self.assignment


def test_total_and_gradients(loss_path: Path, case: Case, compare: Compare) -> None:
    arrays, output, targets = case
    terms = {"classification": ClassificationLoss(), "mask": MaskLoss(), "complement": ComplementLoss(weight=0.2)}
    assignment = stored_assignment(arrays, targets, correct_columns=False)
    total = Criterion(Stored(assignment), terms)(output, targets).total
    compare(loss_path, total, arrays["total_weighted"])
    total.backward()
    found = 0
    for number, layer in enumerate(layer_names(arrays)):
        prefix = "grad_" if layer == "main" else f"grad_{layer}_"
        for field, leaf in (("pred_logits", output.class_logits), ("pred_masks", output.mask_logits)):
            if f"{prefix}{field}" in arrays:
                assert leaf.grad is not None
                compare(loss_path, leaf.grad[number], arrays[f"{prefix}{field}"])
                found += 1
    assert found >= 2
