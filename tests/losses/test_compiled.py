"""torch.compile of the losses' work on every pixel."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import fx
from torch._dynamo.backends.debugging import aot_eager

from random_batches import make_output, make_targets
from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.point_mask import PointMaskLoss
from weakshot_seg.losses.terms import ComplementLoss, LossTerm, MaskLoss


def test_each_work_on_pixels_is_one_graph_and_gives_the_same() -> None:
    torch.compiler.reset()
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return aot_eager(graph, inputs)

    output = make_output()
    terms: dict[str, LossTerm] = {"a": MaskLoss(), "b": ComplementLoss(), "c": PointMaskLoss(num_points=20)}
    plain, compiled = (
        Criterion(HungarianMatcher(), terms),
        Criterion(HungarianMatcher(), deepcopy(terms), (), backend),
    )
    for base, tags in (([[0, 1], [2]], [[3], [3, 4]]), ([[0], [1]], [[4], []]), ([[0, 1, 2], [0, 2]], [[], []])):
        targets = make_targets(base, tags)
        results = []
        for criterion in (plain, compiled):
            torch.manual_seed(0)  # of the points
            losses = criterion(output, targets)
            results.append((losses.parts, torch.autograd.grad(losses.total, output.mask_logits)))
        torch.testing.assert_close(results[1], results[0])
    assert len(graphs) == 4  # the matching cost and three terms, whatever the number of masks


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(ConfigError, match=r"^loss.compile=inductor needs a C\+\+ compiler.*no no-compiler on the PATH"):
        Criterion(HungarianMatcher(), {}, compile="inductor")
