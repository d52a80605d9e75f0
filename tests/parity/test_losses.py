"""Matcher, classification, mask and complement loss."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from parity.golden import compare, read_targets
from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.terms import ClassificationLoss, ComplementLoss, MaskLoss
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets


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
def case(loss_path: Path) -> Case:
    arrays = np.load(loss_path)
    output = read_output(arrays)
    return arrays, output, read_targets(arrays, output.class_logits.shape[-1] - 1)


def test_cost(loss_path: Path, case: Case) -> None:
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


def test_loss_of_every_layer(loss_path: Path, case: Case) -> None:
    """With the stored assignment, so that case D counts too."""
    arrays, output, targets = case
    assignment = stored_assignment(arrays, targets, correct_columns=False)
    terms = {"cls_a": ClassificationLoss(), "mask": MaskLoss(), "comp": ComplementLoss()}
    for number, layer in enumerate(layer_names(arrays)):
        one = slice(number, number + 1)
        part = SegOutput(output.class_logits[one], output.mask_logits[one], output.pixel_embeddings)
        found = {name: term(part, targets, Assignment(assignment.queries[one])) for name, term in terms.items()}
        suffix = "" if layer == "main" else f"_{layer.removeprefix('aux')}"
        compare(loss_path, found["cls_a"]["cross_entropy"], arrays[f"L_loss_cls_a{suffix}"])
        compare(loss_path, found["mask"]["focal"], arrays[f"L_loss_mask_m{suffix}"])
        compare(loss_path, found["mask"]["dice"], arrays[f"L_loss_mask_d{suffix}"])
        compare(loss_path, 20 * found["comp"]["focal"] + found["comp"]["dice"], arrays[f"L_loss_comp{suffix}"])


def test_total_and_gradients(loss_path: Path, case: Case) -> None:
    arrays, output, targets = case
    terms = {"classification": ClassificationLoss(), "mask": MaskLoss(), "complement": ComplementLoss(weight=0.2)}
    assignment = stored_assignment(arrays, targets, correct_columns=False)
    total = Criterion(lambda output, targets: assignment, terms)(output, targets).total
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
