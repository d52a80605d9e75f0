"""Layers that PyTorch trains slowly on CPUs, by other operators; elsewhere and in evaluation they are PyTorch's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """``nn.Linear``; on CPUs a 1x1 convolution, as oneDNN's are up to twice as fast as the matrix products of MKL."""

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in_features]`` -> ``[..., out_features]``."""
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        return _linear(x, self.weight, self.bias)


class Dropout(nn.Dropout):
    """``nn.Dropout``; on CPUs four numbers of 16 bits are drawn at once, as drawing takes nearly all of its time."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, with zeros at a share ``p`` (rounded to 1/65536) and the rest divided by 1 - ``p``."""
        if not self.training or self.inplace or x.device.type != "cpu":
            return super().forward(x)
        return _dropout(x, self.p)


class MultiheadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention``; on CPUs made of the layers above if ``batch_first`` and no weights are wanted."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See PyTorch's own.

        Args:
            query: ``[B, Q, C]``.
            key: ``[B, P, C]``.
            value: ``[B, P, C]``.
            key_padding_mask: for PyTorch's own.
            need_weights: False, or it is done by PyTorch's own.
            attn_mask: bool ``[B * heads, Q, P]``, True where a query must not look; never everywhere.
            average_attn_weights: for PyTorch's own.
            is_causal: likewise.

        Returns:
            ``[B, Q, C]``, and None for the weights.
        """
        own = need_weights or key_padding_mask is not None or is_causal or not self.batch_first
        if own or not self.training or query.device.type != "cpu":
            return super().forward(
                query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
            )
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            _linear(x, weight, bias).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, heads, ., C / heads]
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        if attn_mask is not None:
            scores = scores.masked_fill(attn_mask.view_as(scores), -torch.inf)
        attended = _dropout(scores.softmax(-1), self.dropout) @ v
        return _linear(attended.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias), None


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    picture = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)
    return F.conv2d(picture, weight[:, :, None, None], bias).permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def _dropout(x: Tensor, p: float) -> Tensor:
    dropped = round(p * 2**16)
    if dropped in (0, 2**16):
        return F.dropout(x, p)
    count = x.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    kept = (drawn[:count] >= dropped - 2**15).view(x.shape)
    return x * kept.to(x.dtype).mul_(2**16 / (2**16 - dropped))
