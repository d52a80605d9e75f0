"""The criterion: assigns proposals once, then sums the loss terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from weakshot_seg.losses.terms import LossTerm
from weakshot_seg.structures import SegOutput, WeakTargets
from weakshot_seg.utils.compiling import Backend, Compilable, check_backend


@dataclass(frozen=True)
class Losses:
    """Losses of a step.

    Attributes:
        total: scalar to minimise.
        parts: unweighted scalar of each part, by ``term/part``.
        weighted: the same times the weights of part and term; their sum is ``total``.
    """

    total: Tensor
    parts: dict[str, Tensor]
    weighted: dict[str, Tensor]


class Criterion(nn.Module):
    """Composes an assignment and loss terms (method sections 3 and 4).

    Args:
        assignment: module (output, targets) -> :class:`Assignment`.
        terms: loss terms by name.
        without: names of terms to leave out; a configuration file can add to the terms but not remove one.
        compile: backend of ``torch.compile`` ("inductor") for the work on every pixel; None = as written.

    Raises:
        ConfigError: no such compiler.
    """

    def __init__(
        self,
        assignment: nn.Module,
        terms: Mapping[str, LossTerm],
        without: Sequence[str] = (),
        compile: Backend | None = None,
    ) -> None:
        super().__init__()
        self.assignment = assignment
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if name not in without})
        if compile is not None:
            check_backend(compile, "loss.compile")
            for module in self.modules():
                if isinstance(module, Compilable):
                    module.compile(backend=compile, dynamic=True)  # the number of masks differs from step to step

    def forward(self, output: SegOutput, targets: WeakTargets) -> Losses:
        """Sum over terms of weight * sum over parts of part weight * part, in float32."""
        with torch.autocast(output.mask_logits.device.type, enabled=False):
            output = output.float()
            assignment = self.assignment(output, targets)
            parts, weighted = {}, {}
            for name, module in self.terms.items():
                term = cast(LossTerm, module)
                last = term.layers == "last"
                values = term(output.last() if last else output, targets, assignment.last() if last else assignment)
                for part, value in values.items():
                    parts[f"{name}/{part}"] = value
                    weighted[f"{name}/{part}"] = term.weight * term.part_weights[part] * value
            total = sum(weighted.values(), output.mask_logits.new_zeros(()))
        return Losses(total, parts, weighted)

    def diagnostics(self) -> dict[str, Tensor]:
        """What the terms report of the latest call beside their losses, see :meth:`LossTerm.diagnostics`."""
        return dict(pair for term in self.terms.values() for pair in cast(LossTerm, term).diagnostics().items())
