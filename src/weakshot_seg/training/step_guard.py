"""Training steps that would spoil the weights are skipped, on the device, so that the host need not wait for it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import Any, cast

import torch
from torch import Tensor, nn

from weakshot_seg.errors import DivergedError
from weakshot_seg.utils.ranges import Count
from weakshot_seg.utils.tables import first_few

log = logging.getLogger(__name__)


@dataclass
class Attempt:
    """An optimiser step of which the host does not know yet how it went; lists have an entry per batch of the step."""

    step: int
    learning_rate: float
    images: list[tuple[str, ...]] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)  # the total and its parts
    skipped: Tensor | None = None  # not decided yet

    def text(self, parts: tuple[str, ...]) -> str:
        """What was not finite, of which images; waits for the device."""
        what, images = "the gradients are not finite, though the loss is", tuple(chain(*self.images))
        for names, (total, *values) in zip(self.images, torch.stack(self.losses).tolist(), strict=True):
            bad = [f"{part} is {value}" for part, value in zip(parts, values, strict=True) if not isfinite(value)]
            if bad or not isfinite(total):
                what, images = ", ".join(bad) or f"the loss is {total}", names
        return f"step {self.step}: {what} (learning rate {self.learning_rate:.3g}; images {first_few(images, 8)})"


class StepGuard:
    """Skips steps whose loss or gradients are NaN or infinite, counts them, and gives up after too many in a row.

    A skipped step leaves weights, moments of AdamW and buffers (BatchNorm's statistics, the counts of the class
    balance) as they were, to the bit; the schedule goes on. A loss that is not finite makes all gradients NaN, and
    gradients are summed over the processes of a run: so all skip the same steps, without asking each other.

    A step is :meth:`begin` and :meth:`watch` for each of its batches, then :meth:`decide`; only :meth:`report` waits
    for the device, and not before the step is decided. ``limit`` skipped steps in a row end the training.
    """

    def __init__(self, limit: Count = 20) -> None:
        self.limit = limit
        self.skipped = torch.tensor(0)  # so far, on the device
        self.reported = 0  # the same, as of the latest report
        self._in_a_row = 0
        self._parts: tuple[str, ...] = ()
        self._attempts: list[Attempt] = []  # since the latest report
        self._buffers: list[list[Tensor]] = []  # flat, by type
        self._before: list[Tensor] = []  # the same in one piece each, as they were when the step began

    @property
    def _amid_step(self) -> bool:
        return bool(self._attempts) and self._attempts[-1].skipped is None

    def start(self, *modules: nn.Module, device: torch.device) -> None:
        """Before the first step, when the modules are where they will be trained."""
        owners = (owner for module in modules for owner in module.modules() if owner.training)  # others do not change
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in (buffer for owner in owners for buffer in owner.buffers(recurse=False)):
            by_type.setdefault(buffer.dtype, []).append(buffer.view(-1))
        self._buffers = list(by_type.values())
        self.reported = int(self.skipped)
        self.skipped = self.skipped.to(device)

    def begin(self, step: int, learning_rate: float, images: tuple[str, ...]) -> None:
        """Before a batch of a step; the learning rate is that of the fastest parameters."""
        if not self._amid_step:
            self._before = [torch.cat(buffers) for buffers in self._buffers]
            self._attempts.append(Attempt(step, learning_rate))
        self._attempts[-1].images.append(images)

    def watch(self, total: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """The loss to minimise: the scalar ``total``, with NaN gradients if it or one of its parts is not finite."""
        self._parts = tuple(parts)
        values = torch.stack([total, *parts.values()]).detach()
        self._attempts[-1].losses.append(values)
        return total * torch.where(values.isfinite().all(), 1.0, torch.nan)

    def decide(self, gradient_norm: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Lets a fused optimiser skip its next step if the norm is not finite, and puts the buffers back.

        One that is not fused is left to the ``GradScaler`` of ``trainer.precision=16-mixed``, which skips, too.
        """
        bad = ~gradient_norm.detach().isfinite()
        self.skipped = self.skipped + bad
        self._attempts[-1].skipped = bad
        if optimizer.defaults.get("fused"):
            cast(Any, optimizer).found_inf = bad.float()  # as torch's own GradScaler does
        for buffers, before in zip(self._buffers, self._before, strict=True):
            kept = torch.where(bad, before, torch.cat(buffers))
            torch._foreach_copy_(buffers, kept.split([len(buffer) for buffer in buffers]))

    def report(self) -> None:
        """Warns of skipped steps, with a :class:`DivergedError` if they are too many; amid a step it does nothing."""
        if self._amid_step or not self._attempts:
            return
        attempts, self._attempts = self._attempts, []
        skipped = torch.stack([attempt.skipped for attempt in attempts if attempt.skipped is not None]).tolist()
        for bad in skipped:
            self._in_a_row = self._in_a_row + 1 if bad else 0
        if not any(skipped):
            return
        self.reported += sum(skipped)
        last = [attempt for attempt, bad in zip(attempts, skipped, strict=True) if bad][-1].text(self._parts)
        if self._in_a_row >= self.limit:
            raise DivergedError(
                f"{self._in_a_row} steps in a row were skipped, the last was {last}; lower optim.lr, raise "
                "optim.warmup_steps, or allow more with max_skipped_steps"
            )
        log.warning("%d step(s) skipped, the last was %s", sum(skipped), last)
