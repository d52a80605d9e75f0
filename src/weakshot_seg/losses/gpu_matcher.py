"""The Hungarian assignment solved on the GPU. The only file that knows torch-linear-assignment (extra ``gpu``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.matcher import HungarianMatcher

try:
    from torch_linear_assignment import batch_linear_assignment
except ImportError:
    batch_linear_assignment = None


class GpuHungarianMatcher(HungarianMatcher):
    """All layers and images in one launch, without a copy to the host; on a CPU the library solves them by scipy.

    Args:
        class_weight: weight of -p(class).
        focal_weight: weight of the focal part.
        dice_weight: weight of the dice part.

    Raises:
        ConfigError: the extra ``gpu`` is not installed.
    """

    def __init__(self, class_weight: float = 1.0, focal_weight: float = 20.0, dice_weight: float = 1.0) -> None:
        super().__init__(class_weight, focal_weight, dice_weight)
        if batch_linear_assignment is None:
            raise ConfigError(
                "loss/assignment=hungarian_gpu needs torch-linear-assignment: pip install 'weakshot-seg[gpu]', or use "
                "loss/assignment=hungarian"
            )

    def solve(self, cost: Tensor, counts: Sequence[int]) -> Tensor:
        """See :class:`HungarianMatcher`. Padding slots cost the same everywhere, so they take what is left over."""
        real = torch.tensor(counts).to(cost.device, non_blocking=True)[:, None, None]
        slot = torch.arange(cost.shape[3], device=cost.device)
        padded = torch.where(slot < real, cost, 0.0).flatten(0, 1).transpose(1, 2)  # [LB, N, Q]
        return batch_linear_assignment(padded.contiguous()).unflatten(0, cost.shape[:2])
