"""The floor of a training step: its own convolutions, matrix products and attention, run alone.

What a step takes beyond them is normalisation, activations, losses, and moving data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from benchmarks.contestants import CLIP, Ours
from benchmarks.timing import CLOCKS, Spread, synchronise

Call = tuple[Any, str]
"""An operator and the shapes of its arguments."""
PHASES = ("forward", "losses", "backward", "optimiser")


class Products(TorchDispatchMode):
    """Counts the operators that do products, by phase, and keeps the shapes, layouts and types of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = ""
        self.counts: Counter[tuple[str, Call]] = Counter()
        self.arguments: dict[Call, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        # PyTorch's own list, of its FLOP counter, lacks the attention of CPUs
        if func.overloadpacket in flop_registry or "scaled_dot_product" in str(func):
            described = tree_map(lambda x: _Like(x) if isinstance(x, Tensor) else x, (args, kwargs or {}))
            call = func, repr(described)
            self.counts[self.phase, call] += 1
            self.arguments[call] = described
        return func(*args, **(kwargs or {}))


class _Like:
    """A tensor without its values."""

    def __init__(self, tensor: Tensor) -> None:
        self.size, self.stride = tuple(tensor.shape), tensor.stride()
        self.dtype, self.device = tensor.dtype, tensor.device

    def __repr__(self) -> str:
        return f"{self.dtype}{self.size}{self.stride}"

    def make(self) -> Tensor:
        tensor = torch.empty_strided(self.size, self.stride, dtype=self.dtype, device=self.device)
        return tensor.fill_(0.5) if tensor.is_floating_point() else tensor.zero_()


def step_in_phases(ours: Ours, begin: Callable[[str], None]) -> None:
    """A training step; ``begin`` is told when a phase starts. The teacher is part of the forward pass."""
    begin("forward")
    targets = ours.targets if ours.teacher is None else ours.teacher(ours.images, ours.targets, progress=1.0)
    output = ours.model(ours.images)
    begin("losses")
    loss = ours.criterion(output, targets).total
    begin("backward")
    loss.backward()
    begin("optimiser")
    _update(ours.optimizer)
    if ours.teacher is not None:
        ours.teacher.follow(ours.model, step=1000)
    begin("")


def _update(optimizer: Optimizer) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def measure_floor(contestants: Sequence[Ours], rounds: int, warmup: int, clock: str) -> dict[str, dict[str, Any]]:
    """By contestant and phase, and of all phases: seconds of the step, of its products alone, and their ratio.

    In every round the step is timed, then each product once (and taken as often as it occurs).
    """
    now = CLOCKS[clock]
    found: dict[str, dict[str, Any]] = {}
    for ours in contestants:
        device = ours.images.device

        def clocked(device: torch.device = device) -> float:
            synchronise(device)
            return now()

        with Products() as products:
            step_in_phases(ours, lambda phase, products=products: setattr(products, "phase", phase))
        steps: list[dict[str, float]] = []
        floors: list[dict[str, float]] = []
        for number in range(-warmup, rounds):
            marks: list[tuple[str, float]] = []
            step_in_phases(ours, lambda phase, marks=marks: marks.append((phase, clocked())))
            step = {phase: end - start for (phase, start), (_, end) in pairwise(marks)}
            alone = {call: _seconds(call[0], described, clocked) for call, described in products.arguments.items()}
            floor = dict.fromkeys(PHASES, 0.0)
            for (phase, call), count in products.counts.items():
                floor[phase] += count * alone[call]
            if number >= 0:
                steps.append(step | {"whole": sum(step.values())})
                floors.append(floor | {"whole": sum(floor.values())})
        found[ours.name] = {
            phase: {
                "step": Spread.of([step[phase] for step in steps]),
                "floor": Spread.of([floor[phase] for floor in floors]),
                "ratio": Spread.of([s[phase] / f[phase] for s, f in zip(steps, floors, strict=True)])
                if min(floor[phase] for floor in floors) > 0
                else None,
            }
            for phase in (*PHASES, "whole")
        }
    return found


def _seconds(operator: Any, described: Any, clocked: Callable[[], float]) -> float:
    args, kwargs = tree_map(lambda x: x.make() if isinstance(x, _Like) else x, described)
    start = clocked()
    operator(*args, **kwargs)
    return clocked() - start


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """The table."""
    lines = ["| | phase | step, ms | its products alone, ms | ratio | quartiles |", "|---|---|---|---|---|---|"]
    for name, phases in found.items():
        for phase, values in phases.items():
            ratio = values["ratio"]
            shown = "- | -" if ratio is None else f"{ratio.median:.2f} | {ratio.low:.2f} - {ratio.high:.2f}"
            step, floor = 1000 * values["step"].median, 1000 * values["floor"].median
            lines.append(f"| {name} | {phase} | {step:.1f} | {floor:.1f} | {shown} |")
    return "\n".join([*lines, ""])
