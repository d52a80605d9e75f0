"""The composed criterion: sums of the right parts and layers, waits for the device, and compilation."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch._dynamo.backends.debugging import aot_eager

from random_batches import make_output, make_targets
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import ClassQueries, HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.point_mask import PointMaskLoss
from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, LossTerm, MaskLoss
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import SegOutput


def criterion(class_queries: bool = False, stride: int = 1) -> Criterion:
    terms = {
        "classification": ClassificationLoss(),
        "mask": MaskLoss(stride=stride),
        "complement": ComplementLoss(stride=stride),
        "similarity": PixelSimilarityLoss(SimNet(3, 4, 2), num_points=10),
    }
    if class_queries:
        terms["absence"] = AbsenceLoss()
    return Criterion(ClassQueries() if class_queries else HungarianMatcher(), terms)


def test_parts_of_which_nothing_is_known_are_zero() -> None:
    def parts(base: list[list[int]], tags: list[list[int]]) -> set[str]:
        losses = criterion()(make_output(), make_targets(base, tags, paired=True))
        return {name for name, value in losses.parts.items() if value.item() == 0}

    mask, complement = {"mask/focal", "mask/dice"}, {"complement/focal", "complement/dice"}
    assert parts([[0], [0]], [[3], [3]]) == set()
    assert parts([[], []], [[3], [3]]) == {*mask, "similarity/base"}
    assert parts([[0], [1]], [[], []]) == {*complement, "similarity/novel"}
    assert parts([[], []], [[], []]) == {*mask, *complement, "similarity/base", "similarity/novel"}


def test_the_total_is_the_weighted_sum_of_the_parts_of_the_right_layers() -> None:
    output, targets = make_output(layers=3), make_targets([[0, 1], [2]], [[3], [4]])
    terms = {"a": MaskLoss(weight=0.5, focal_weight=7, dice_weight=3), "b": MaskLoss(weight=2.0, layers="last")}
    left_out = {"c": ClassificationLoss()}
    losses = Criterion(HungarianMatcher(), terms | left_out, without=["c", "d"])(output, targets)
    p = losses.parts
    assert set(p) == {"a/focal", "a/dice", "b/focal", "b/dice"}
    expected = 0.5 * (7 * p["a/focal"] + 3 * p["a/dice"]) + 2 * (20 * p["b/focal"] + p["b/dice"])
    torch.testing.assert_close(losses.total, expected)
    torch.testing.assert_close(losses.weighted["a/focal"], 3.5 * p["a/focal"])
    assert set(losses.weighted) == set(p)
    assert sum(losses.weighted.values()).item() == losses.total.item()
    single = []
    for i in range(3):
        part = SegOutput(output.class_logits[i : i + 1], output.mask_logits[i : i + 1], output.pixel_embeddings)
        single.append(MaskLoss()(part, targets, HungarianMatcher()(part, targets))["dice"])
    torch.testing.assert_close(p["a/dice"], torch.stack(single).sum())
    torch.testing.assert_close(p["b/dice"], single[-1])


def test_diagnostics_are_those_of_the_latest_batch() -> None:
    module, output = criterion(), make_output()
    assert module.diagnostics() == {}
    module(output, make_targets([[0, 1], [0]], [[3], [3]], paired=True))
    assert not any(value.requires_grad for value in module.diagnostics().values())
    module(output, make_targets([[0, 1], [0]], [[3], [3]]))
    assert module.diagnostics() == {}  # no pairs


def test_losses_of_half_precision_outputs_are_in_float32() -> None:
    output, targets = make_output(), make_targets([[0, 1], [2]], [[3], [4]])
    half = SegOutput(output.class_logits.bfloat16(), output.mask_logits.bfloat16(), output.pixel_embeddings.bfloat16())
    module = criterion()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = module(half, targets)
    assert losses.total.dtype == torch.float32
    torch.testing.assert_close(losses.total, module(half.float(), targets).total)


@pytest.mark.parametrize("class_queries", [False, True])
def test_only_the_matcher_waits_for_the_device_and_only_once(
    class_queries: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the device "meta" nothing can be read, neither a value nor how many elements are true."""
    output, targets = make_output(images=4, queries=5), make_targets([[0, 1], [0], [2], []], [[3], [3, 4], [], [4]])
    module = criterion(class_queries, stride=2)
    copies: list[Tensor] = []
    cpu = Tensor.cpu
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which does not know this device
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: copies.append(tensor) or cpu(tensor))
    if not class_queries:
        queries = module.assignment(output, targets).queries  # copies the cost once
        monkeypatch.setattr(module.assignment, "solve", lambda cost, counts: queries.to(cost.device))
    module.to("meta")(output.to("meta"), replace(targets.to("meta"), paired=True))
    assert len(module.diagnostics()) == 7
    assert len(copies) == (0 if class_queries else 1)
    with pytest.raises((NotImplementedError, RuntimeError)):  # by version of PyTorch: the meta device has no values
        output.to("meta").mask_logits.sum().item()


def test_each_work_on_pixels_is_one_graph_and_gives_the_same() -> None:
    torch.compiler.reset()
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return aot_eager(graph, inputs)

    output = make_output()
    terms: dict[str, LossTerm] = {"a": MaskLoss(), "b": ComplementLoss(), "c": PointMaskLoss(num_points=20)}
    compiled = Criterion(HungarianMatcher(), deepcopy(terms), compile=backend)
    for base, tags in (([[0, 1], [2]], [[3], [3, 4]]), ([[0], [1]], [[4], []]), ([[0, 1, 2], [0, 2]], [[], []])):
        targets = make_targets(base, tags)
        results = []
        for module in (Criterion(HungarianMatcher(), terms), compiled):
            torch.manual_seed(0)  # of the points
            losses = module(output, targets)
            results.append((losses.parts, torch.autograd.grad(losses.total, output.mask_logits)))
        torch.testing.assert_close(results[1], results[0])
    assert len(graphs) == 4  # the matching cost and three terms, whatever the number of masks


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(ConfigError, match=r"^loss.compile=inductor needs a C\+\+ compiler.*no no-compiler on the PATH"):
        Criterion(HungarianMatcher(), {}, compile="inductor")
