"""Running sums over the steps and the ranks of a training."""

from torch import Tensor

from weakshot_seg.losses.terms import mean_over_ranks

MEMORY = 0.98
"""Share of the earlier steps in the sums."""


def accumulate(total: Tensor, values: Tensor) -> None:
    """Adds ``values``, their mean over the ranks, to ``total`` in place, which forgets a little of the earlier ones."""
    total.mul_(MEMORY).add_(mean_over_ranks(values.float()))
