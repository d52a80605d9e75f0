"""Normalisation layers that differ from PyTorch's in precision or memory, not in what they compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError


class GroupNorm(nn.GroupNorm):
    """``nn.GroupNorm`` for maps ``[B, C, H, W]``, as exact with channels last as without.

    On CPUs PyTorch takes E[x^2] - E[x]^2 for the variance of channels-last maps, which loses digits where the mean is
    large. So the mean of every group is subtracted first; the result does not depend on it, and no gradient passes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same."""
        if x.device.type == "cpu":
            means = x.detach().mean((2, 3)).unflatten(1, (self.num_groups, -1)).mean(2, keepdim=True)
            x = x - means.expand(-1, -1, x.shape[1] // self.num_groups).flatten(1)[..., None, None]
        return super().forward(x)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Fixed scale and shift: BatchNorm in evaluation mode, without keeping its input for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> the same."""
        # in half precision BatchNorm itself works in float32, and without gradients it keeps nothing either
        if x.dtype != self.weight.dtype or not torch.is_grad_enabled():
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


@contextmanager
def enough_values() -> Iterator[None]:
    """Makes a ``ConfigError`` of PyTorch's error for BatchNorm that is trained on one value of each channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "BatchNorm cannot be trained on one value of each channel: set data.batch_size=2 or more, or "
            "data.train_transform.crop_size=64 or more, or model.backbone.freeze_norm=true"
        ) from error
