"""SimNet: are two pixels of the same class? (SimFormer section 3.3; method section 2). Used in training only."""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.utils.ranges import Channels, Layers


class SimNet(nn.Module):
    """Residual network on the concatenated embeddings of two pixels.

    The first layer and its skip are linear in the concatenation, W [a; b] = W_a a + W_b b, so both halves are computed
    on the points and summed per pair: the same numbers as on concatenated pairs at a fraction of the cost.

    Args:
        embedding_dim, hidden_dim: channels ``C`` of one pixel's embedding, and width.
        num_blocks: residual blocks.
        batch_norm: BatchNorm over all pairs.
    """

    def __init__(
        self, embedding_dim: Channels = 256, hidden_dim: Channels = 256, num_blocks: Layers = 3, batch_norm: bool = True
    ) -> None:
        super().__init__()
        widths = [2 * embedding_dim] + [hidden_dim] * num_blocks
        self.blocks = nn.ModuleList(SimBlock(w_in, w_out, batch_norm) for w_in, w_out in pairwise(widths))
        self.head = nn.Linear(hidden_dim, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of (different, same) for every pair of points: ``[B, P, C]``, ``[B, R, C]`` -> ``[B, P, R, 2]``."""
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
        self.norm1 = nn.BatchNorm2d(dim) if batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(dim) if batch_norm else nn.Identity()
        self.skip = nn.Linear(in_dim, dim) if in_dim != dim else None

    def forward(self, x: Tensor) -> Tensor:
        """``[B, P, R, in_dim]`` -> ``[B, P, R, dim]``."""
        return self._residual(self.linear1(x)) + (x if self.skip is None else F.relu(self.skip(x)))

    def forward_pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """``[B, P, in_dim/2]``, ``[B, R, in_dim/2]`` -> ``[B, P, R, dim]``, the same as of the concatenated pairs."""
        if self.skip is None:
            shape = first.shape[0], first.shape[1], second.shape[1], first.shape[2]
            skip = torch.cat([first[:, :, None].expand(shape), second[:, None].expand(shape)], dim=-1)
        else:
            skip = F.relu(_on_pairs(self.skip, first, second))
        return self._residual(_on_pairs(self.linear1, first, second)) + skip

    def _residual(self, hidden: Tensor) -> Tensor:
        hidden = F.relu(_normalised(self.norm1, hidden))
        return F.relu(_normalised(self.norm2, self.linear2(hidden)))


def _on_pairs(layer: nn.Linear, first: Tensor, second: Tensor) -> Tensor:
    """A linear layer on the concatenations of ``[B, P, C]`` and ``[B, R, C]``: ``[B, P, R, .]``."""
    weight_first, weight_second = layer.weight.chunk(2, dim=1)
    return F.linear(first, weight_first)[:, :, None] + F.linear(second, weight_second, layer.bias)[:, None]


def _normalised(norm: nn.Module, pairs: Tensor) -> Tensor:
    """BatchNorm of ``[B, P, R, C]``: a picture with channels last in memory."""
    return norm(pairs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
