"""GroupNorm that is as exact with channels last as without."""

from __future__ import annotations

from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` for maps ``[B, C, H, W]``, with the mean of every group taken off first on CPUs.

    There PyTorch takes E[x^2] - E[x]^2 for the variance of channels-last maps, which loses digits where the mean is
    large. The result does not depend on what is taken off, so no gradient passes through it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same."""
        if x.device.type == "cpu":
            means = x.detach().mean((2, 3)).unflatten(1, (self.num_groups, -1)).mean(2, keepdim=True)
            x = x - means.expand(-1, -1, x.shape[1] // self.num_groups).flatten(1)[..., None, None]
        return super().forward(x)
