"""SimNet: are two pixels of the same class? (SimFormer section 3.3; method section 2). Used in training only."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SimNet(nn.Module):
    """Residual network on the concatenated embeddings of two pixels.

    The first layer and its skip are linear in the concatenation, W [a; b] = W_a a + W_b b, so both halves are computed
    on the points and summed per pair: the same numbers as on concatenated pairs at a fraction of the cost. All pairs of
    an image are a picture with channels last, and linear layers are 1x1 convolutions of it: on CPUs these are up to
    seven times as fast as ``nn.Linear`` and ``nn.BatchNorm1d`` on the same numbers.

    Args:
        embedding_dim: channels ``C`` of one pixel's embedding.
        hidden_dim: width.
        num_blocks: residual blocks.
        batch_norm: BatchNorm over all pairs.
    """

    def __init__(
        self, embedding_dim: int = 256, hidden_dim: int = 256, num_blocks: int = 3, batch_norm: bool = True
    ) -> None:
        super().__init__()
        widths = [2 * embedding_dim] + [hidden_dim] * num_blocks
        self.blocks = nn.ModuleList(SimBlock(w_in, w_out, batch_norm) for w_in, w_out in pairwise(widths))
        self.head = nn.Linear(hidden_dim, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of (different, same) for every pair of points.

        Args:
            first: ``[B, P, C]`` points of the anchors.
            second: ``[B, R, C]`` points of their references.

        Returns:
            ``[B, P, R, 2]``.
        """
        pairs, *blocks = self.blocks
        hidden = cast(SimBlock, pairs).forward_pairs(first, second)
        for block in blocks:
            hidden = block(hidden)
        return _linear(self.head, hidden).permute(0, 2, 3, 1)


class SimBlock(nn.Module):
    """y = relu(BN(W2 relu(BN(W1 x)))) + skip(x); skip(x) = relu(Ws x) where widths differ, else x."""

    def __init__(self, in_dim: int, dim: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm1 = nn.BatchNorm2d(dim) if batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(dim) if batch_norm else nn.Identity()
        self.skip = nn.Linear(in_dim, dim) if in_dim != dim else None

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_dim, P, R]`` -> ``[B, dim, P, R]``."""
        residual = self._residual(F.relu(self.norm1(_linear(self.linear1, x)), inplace=True))
        return residual + (x if self.skip is None else F.relu(_linear(self.skip, x), inplace=True))

    def forward_pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """``[B, P, in_dim/2]``, ``[B, R, in_dim/2]`` -> ``[B, dim, P, R]`` of the concatenated pairs."""
        halves = _linear_halves(self.linear1, first, second)
        if isinstance(self.norm1, nn.BatchNorm2d):  # not SyncBatchNorm, which has the pairs of other devices, too
            hidden = _picture(F.relu(_pairwise_sum(*_norm_halves(self.norm1, *halves)), inplace=True))
        else:
            hidden = F.relu(self.norm1(_picture(_pairwise_sum(*halves))), inplace=True)
        if self.skip is None:
            half = first.shape[-1]
            skip = _pairwise_sum(F.pad(first, (0, half)), F.pad(second, (half, 0)))
        else:
            skip = F.relu(_pairwise_sum(*_linear_halves(self.skip, first, second)), inplace=True)
        return self._residual(hidden) + _picture(skip)

    def _residual(self, hidden: Tensor) -> Tensor:
        return F.relu(self.norm2(_linear(self.linear2, hidden)), inplace=True)


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on ``[B, C, P, R]``."""
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias)


def _linear_halves(layer: nn.Linear, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of points whose pairwise sum is the layer on the concatenated pairs."""
    weight_first, weight_second = layer.weight.chunk(2, dim=1)
    return F.linear(first, weight_first), F.linear(second, weight_second, layer.bias)


def _norm_halves(norm: nn.BatchNorm2d, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors of points whose pairwise sum is BatchNorm of the pairwise sum of ``[B, P, C]`` and ``[B, R, C]``.

    Mean and variance of all sums follow from those of the points of each image: no pass over the pairs is needed.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    if norm.training:
        of_image = first.mean(1) + second.mean(1)  # [B, C]
        within = first.var(1, correction=0) + second.var(1, correction=0)
        batch_mean = of_image.mean(0)
        batch_variance = within.mean(0) + of_image.var(0, correction=0)
        with torch.no_grad():
            pairs = first.shape[0] * first.shape[1] * second.shape[1]
            momentum = norm.momentum or 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
            mean.lerp_(batch_mean.to(mean.dtype), momentum)
            variance.lerp_((batch_variance * (pairs / max(pairs - 1, 1))).to(variance.dtype), momentum)
        mean, variance = batch_mean, batch_variance
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return first * scale, (second - mean) * scale + norm.bias


def _pairwise_sum(first: Tensor, second: Tensor) -> Tensor:
    """``[B, P, C]``, ``[B, R, C]`` -> ``[B, P, R, C]``."""
    return first.unsqueeze(2) + second.unsqueeze(1)


def _picture(pairs: Tensor) -> Tensor:
    """``[B, P, R, C]`` -> ``[B, C, P, R]``, channels last in memory. A view: autograd copies those changed in place."""
    return pairs.permute(0, 3, 1, 2)
