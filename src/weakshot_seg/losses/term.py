"""What a loss term is. A new one is a subclass and one entry in ``loss.terms``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets


class LossTerm(nn.Module, ABC):
    """A term of the criterion: named parts, each with a weight, times the weight of the term.

    Args:
        weight: weight of the whole term.
        layers: ``all`` (deep supervision, parts are summed over layers) or ``last`` decoder layer.
        part_weights: weight of each part that ``forward`` returns.
    """

    def __init__(self, weight: float, layers: Literal["all", "last"], part_weights: dict[str, float]) -> None:
        super().__init__()
        if layers not in ("all", "last"):
            raise ConfigError(f"loss.terms.*.layers={layers!r} must be 'all' or 'last'")
        self.weight = weight
        self.layers = layers
        self.part_weights = part_weights

    @abstractmethod
    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Unweighted scalar of each part, summed over the layers in ``output``."""

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars about the latest call that are no losses, by name; asked for only at the steps that are logged."""
        return {}
