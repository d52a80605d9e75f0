"""SimNet: are two pixels of the same class? (SimFormer section 3.3; method section 2). Used in training only."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class SimNet(nn.Module):
    """Residual network on the concatenated embeddings of two pixels.

    The first layer and its skip are linear in the concatenation, W [a; b] = W_a a + W_b b, so both halves are computed
    on the points and summed per pair: the same numbers as on concatenated pairs at a fraction of the cost.

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
        return self.head(hidden)


class SimBlock(nn.Module):
    """y = relu(BN(W2 relu(BN(W1 x)))) + skip(x); skip(x) = relu(Ws x) where widths differ, else x."""

    def __init__(self, in_dim: int, dim: int, batch_norm: bool = True) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm1 = nn.BatchNorm1d(dim) if batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm1d(dim) if batch_norm else nn.Identity()
        self.skip = nn.Linear(in_dim, dim) if in_dim != dim else None

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_dim]`` -> ``[..., dim]``."""
        return self._residual(self.linear1(x)) + (x if self.skip is None else F.relu(self.skip(x)))

    def forward_pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """``[B, P, in_dim/2]``, ``[B, R, in_dim/2]`` -> ``[B, P, R, dim]`` of the concatenated pairs."""
        hidden = self._residual(_pairwise_linear(self.linear1, first, second))
        if self.skip is not None:
            return hidden + F.relu(_pairwise_linear(self.skip, first, second), inplace=True)
        half = first.shape[-1]
        return hidden + F.pad(first, (0, half)).unsqueeze(2) + F.pad(second, (half, 0)).unsqueeze(1)

    def _residual(self, pre_activation: Tensor) -> Tensor:
        hidden = _norm_relu(self.norm1, pre_activation)
        return _norm_relu(self.norm2, self.linear2(hidden))


def _pairwise_linear(layer: nn.Linear, first: Tensor, second: Tensor) -> Tensor:
    weight_first, weight_second = layer.weight.chunk(2, dim=1)
    return F.linear(first, weight_first).unsqueeze(2) + F.linear(second, weight_second, layer.bias).unsqueeze(1)


def _norm_relu(norm: nn.Module, x: Tensor) -> Tensor:
    """relu(norm(x)) over the last axis; in place, as tensors of all pairs are large."""
    return F.relu(norm(x.flatten(0, -2)), inplace=True).view_as(x)
