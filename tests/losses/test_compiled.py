"""torch.compile of the losses' work on every pixel."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.assignments import HungarianMatcher
from weakshot_seg.losses.criterion import Criterion
from weakshot_seg.losses.point_mask import PointMaskLoss
from weakshot_seg.losses.terms import ComplementLoss, LossTerm, MaskLoss
from weakshot_seg.structures import SegOutput, WeakTargets

TERMS: dict[str, Callable[[], LossTerm]] = {
    "mask": MaskLoss,
    "complement": ComplementLoss,
    "points": lambda: PointMaskLoss(num_points=20),
}


@pytest.mark.parametrize("backend", ["aot_eager", "aot_eager_decomp_partition"])  # inductor needs a C++ compiler
def test_losses_and_gradients_are_the_same(
    make_output: Callable[..., SegOutput], make_targets: Callable[..., WeakTargets], backend: str
) -> None:
    torch.compiler.reset()
    output = make_output()
    plain, compiled = (
        Criterion(HungarianMatcher(), {name: make() for name, make in TERMS.items()}, compile=compile)
        for compile in (None, backend)
    )
    for base, tags in (([[0, 1], [2]], [[3], [3, 4]]), ([[0], [1]], [[4], []]), ([[0, 1, 2], [0, 2]], [[], []])):
        targets = make_targets(base, tags)  # as the number of masks differs, nothing may be compiled for one number
        results = []
        for criterion in (plain, compiled):
            torch.manual_seed(0)  # of the points
            losses = criterion(output, targets)
            results.append((losses.parts, torch.autograd.grad(losses.total, output.mask_logits)))
        torch.testing.assert_close(results[1], results[0])


def test_every_work_on_pixels_is_one_graph(
    make_output: Callable[..., SegOutput], make_targets: Callable[..., WeakTargets]
) -> None:
    torch.compiler.reset()
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    criterion = Criterion(HungarianMatcher(), {name: make() for name, make in TERMS.items()}, compile=backend)
    targets = make_targets([[0, 1], [2]], [[3], [3, 4]])
    criterion(make_output(), targets)
    first = len(graphs)
    criterion(make_output(), targets)
    assert first == len(graphs) == 4  # the matching cost and three terms, once


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(ConfigError, match=r"^loss.compile=inductor needs a C\+\+ compiler.*no no-compiler on the PATH"):
        Criterion(HungarianMatcher(), {}, compile="inductor")


def test_unknown_backend() -> None:
    with pytest.raises(ConfigError, match=r"loss.compile='inductr': choose one of .*inductor"):
        Criterion(HungarianMatcher(), {}, compile="inductr")
