"""Numbers over all processes of a run."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of ``value`` over all DDP ranks, without gradient; ``value`` itself in a single process.

    A loss summed on each rank and divided by the mean normaliser gives, after DDP's averaging of gradients, the loss of
    the union batch.
    """
    value = value.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value
