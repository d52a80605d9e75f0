"""Training steps that would spoil the weights are skipped, on the device, so that the host need not wait for it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor, nn

from weakshot_seg.errors import DivergedError
from weakshot_seg.utils.ranges import Count
from weakshot_seg.utils.tables import first_few

log = logging.getLogger(__name__)

BATCHES = 10**6
"""More than a step has."""


@dataclass(frozen=True)
class Attempt:
    """An optimiser step of which the host does not know yet how it went.

    Attributes:
        learning_rate: of the fastest parameters.
        batches: names of the images of each of its batches.
    """

    learning_rate: float
    batches: list[tuple[str, ...]]


class StepGuard:
    """Skips steps whose loss or gradients are NaN or infinite, counts them, and gives up after too many in a row.

    A skipped step leaves weights, moments of AdamW and buffers (BatchNorm's statistics, the counts of the class
    balance) as they were, to the bit; the schedule goes on. A loss that is not finite makes all gradients NaN, and
    gradients are summed over the processes of a run: so all skip the same steps, without asking each other.

    A step is :meth:`begin` and :meth:`watch` for each of its batches, then :meth:`decide`; only :meth:`report` waits
    for the device, and not before the step is decided.

    Args:
        limit: skipped steps in a row with which the training stops.

    Attributes:
        skipped: steps skipped so far, on the device.
        reported: the same, as of the latest report.
    """

    def __init__(self, limit: Count = 20) -> None:
        self.limit = limit
        self.skipped = torch.tensor(0)
        self._in_a_row = torch.tensor(0)
        self._last_skipped = torch.tensor(-1)
        self._last_bad_loss = torch.tensor(-1)  # step * BATCHES + which of its batches
        self._bad_values = torch.zeros(0)  # total and parts of the last loss that was not finite
        self._parts: tuple[str, ...] = ()
        self.reported = 0
        self._attempts: dict[int, Attempt] = {}  # since the latest report
        self._amid_step = False
        self._buffers: list[list[Tensor]] = []  # flat, by type
        self._before: list[Tensor] = []  # the same in one piece each, as they were when the step began

    def start(self, *modules: nn.Module, device: torch.device) -> None:
        """Before the first step, when the modules are where they will be trained."""
        owners = (owner for module in modules for owner in module.modules() if owner.training)  # others do not change
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in (buffer for owner in owners for buffer in owner.buffers(recurse=False)):
            by_type.setdefault(buffer.dtype, []).append(buffer.view(-1))
        self._buffers = list(by_type.values())
        self.reported = int(self.skipped)
        for name in ("skipped", "_in_a_row", "_last_skipped", "_last_bad_loss", "_bad_values"):
            setattr(self, name, getattr(self, name).to(device))

    def begin(self, step: int, learning_rate: float, images: tuple[str, ...]) -> None:
        """Before a batch of a step."""
        if not self._amid_step:
            self._before = [torch.cat(buffers) for buffers in self._buffers]
            self._attempts[step], self._amid_step = Attempt(learning_rate, []), True
        self._attempts[step].batches.append(images)

    def watch(self, step: int, total: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """The loss to minimise: ``total``, whose gradients are all NaN if it or one of its parts is not finite.

        Args:
            step: number of the step.
            total: scalar.
            parts: scalars that it was made of, by name.
        """
        self._parts = tuple(parts)
        values = torch.stack([total, *parts.values()]).detach()
        bad = ~values.isfinite().all()
        self._bad_values = torch.where(bad, values, self._bad_values if len(self._bad_values) else values)
        batch = len(self._attempts[step].batches) - 1
        self._last_bad_loss = torch.where(bad, step * BATCHES + batch, self._last_bad_loss)
        return total * torch.where(bad, torch.nan, 1.0)

    def decide(self, step: int, gradient_norm: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Lets a fused optimiser skip its next step if the norm is not finite, and puts the buffers back.

        One that is not fused is left to the ``GradScaler`` of ``trainer.precision=16-mixed``, which skips, too.
        """
        bad = ~gradient_norm.detach().isfinite()
        self.skipped = self.skipped + bad
        self._in_a_row = (self._in_a_row + 1) * bad
        self._last_skipped = torch.where(bad, step, self._last_skipped)
        if optimizer.defaults.get("fused"):
            cast(Any, optimizer).found_inf = bad.float()  # as torch's own GradScaler does
        for buffers, before in zip(self._buffers, self._before, strict=True):
            kept = torch.where(bad, before, torch.cat(buffers))
            torch._foreach_copy_(buffers, kept.split([len(buffer) for buffer in buffers]))
        self._amid_step = False

    def report(self) -> None:
        """Warns of steps skipped since the latest report; between two batches of a step it does nothing.

        Raises:
            DivergedError: too many in a row, naming step, loss terms, learning rate and images of the last.
        """
        if self._amid_step:
            return
        numbers = torch.stack([self.skipped, self._in_a_row, self._last_skipped, self._last_bad_loss]).tolist()
        skipped, in_a_row, step, bad_loss = numbers
        new, self.reported = skipped - self.reported, skipped
        attempts, self._attempts = self._attempts, {}
        if not new:
            return
        attempt = attempts[step]
        if bad_loss // BATCHES == step:
            what, images = self._bad_terms(), attempt.batches[bad_loss % BATCHES]
        else:
            what, images = "the gradients are not finite, though the loss is", tuple(chain(*attempt.batches))
        last = f"step {step}: {what} (learning rate {attempt.learning_rate:.3g}; images {first_few(images, 8)})"
        if in_a_row >= self.limit:
            raise DivergedError(
                f"{in_a_row} steps in a row were skipped, the last was {last}; lower optim.lr, raise "
                "optim.warmup_steps, or allow more with max_skipped_steps"
            )
        log.warning("%d step(s) skipped, the last was %s", new, last)

    def _bad_terms(self) -> str:
        total, *values = self._bad_values.tolist()
        wrong = [f"{name} is {value}" for name, value in zip(self._parts, values, strict=True) if not isfinite(value)]
        return ", ".join(wrong) or f"the loss is {total}"
