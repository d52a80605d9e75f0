"""Transformer decoders over learned proposal queries: DETR's, as in the paper, and Mask2Former's."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QueryDecoder(nn.Module):
    """Learned queries attend to an image memory (DETR, arXiv 2005.12872; method section 2).

    Args:
        in_channels: channels of the memory feature.
        num_queries, num_layers: ``Q`` and ``L``.
        dim, ffn_dim: width, and that of the feed-forward part.
        num_heads, dropout: of the attention.
        masked: queries start as learned features, predict at once, and attend within the masks they have predicted: the
            decoder of Mask2Former (arXiv 2112.01527, section 3.2), not the paper's; it converges in fewer steps. With
            one query per class the learned features are class prototypes from the first step on.
    """

    def __init__(
        self,
        in_channels: int,
        num_queries: int,
        dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
        masked: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.num_heads = dim, num_heads
        self.project = nn.Conv2d(in_channels, dim, 1)
        self.queries = nn.Embedding(num_queries, dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.kaiming_uniform_(self.project.weight, a=1)
        self.features = nn.Embedding(num_queries, dim) if masked else None

    def forward(self, feature: Tensor, pixel_embeddings: Tensor, mask_embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Proposal embeddings after every layer, for deep supervision; with masks also those before the first.

        Args:
            feature: memory ``[B, in_channels, h, w]``.
            pixel_embeddings: ``[B, C, H, W]`` of any size; for masked attention.
            mask_embed: proposal embeddings ``[B, Q, dim]`` -> mask embeddings ``[B, Q, C]``; for masked attention.

        Returns:
            ``[L, B, Q, dim]``, masked ``[L + 1, B, Q, dim]``.
        """
        batch, _, height, width = feature.shape
        memory = self.project(feature)
        position = sine_position_embedding(height, width, self.dim, memory.device).to(memory.dtype)
        keys = (memory + position).flatten(2).transpose(1, 2)  # [B, hw, dim]
        values = memory.flatten(2).transpose(1, 2)
        query_position = self.queries.weight.expand(batch, -1, -1)
        if self.features is None:
            target = torch.zeros_like(query_position)
            outputs = []
        else:
            target = self.features.weight.expand(batch, -1, -1)
            outputs = [self.norm(target)]
            # masks are linear in the pixel embeddings: these resized once are the masks of all layers resized
            pixels = F.interpolate(pixel_embeddings.detach(), (height, width), mode="bilinear", align_corners=False)
        for layer in self.layers:
            outside = None if self.features is None else self._outside(mask_embed(outputs[-1]), pixels)
            target = layer(target, query_position, keys, values, outside)
            outputs.append(self.norm(target))
        return torch.stack(outputs)

    @torch.no_grad()
    def _outside(self, mask_embeddings: Tensor, pixels: Tensor) -> Tensor:
        """Bool ``[B * heads, Q, hw]``: pixels a query must not attend to; a query with an empty mask attends to all."""
        outside = mask_embeddings @ pixels.flatten(2) < 0  # sigmoid < 0.5
        outside &= ~outside.all(2, keepdim=True)
        return outside.repeat_interleave(self.num_heads, 0)


class DecoderLayer(nn.Module):
    """Post-norm: self-attention among proposals, cross-attention to the memory, feed-forward."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, target: Tensor, query_position: Tensor, keys: Tensor, values: Tensor, outside: Tensor | None = None
    ) -> Tensor:
        """Proposals ``[B, Q, dim]``, memory keys (with position) and values ``[B, hw, dim]`` -> proposals.

        Where ``outside`` (bool ``[B * heads, Q, hw]``) is True a proposal does not attend to the memory.
        """
        query = target + query_position
        attended = self.self_attention(query, query, target, need_weights=False)[0]
        target = self.norm1(target + self.dropout(attended))
        query = target + query_position
        attended = self.cross_attention(query, keys, values, need_weights=False, attn_mask=outside)[0]
        target = self.norm2(target + self.dropout(attended))
        hidden = self.linear2(self.dropout(F.relu(self.linear1(target))))
        return self.norm3(target + self.dropout(hidden))


def sine_position_embedding(height: int, width: int, dim: int, device: torch.device | None = None) -> Tensor:
    """The sine position embedding of DETR (normalised, temperature 10000; method section 2).

    Channels: first half encodes y, second half x; sines and cosines alternate. Positions run over (0, 2 pi].
    float32 ``[dim, height, width]``; ``dim`` is a multiple of 4.
    """
    half = dim // 2
    channel = torch.arange(half, device=device, dtype=torch.float32)
    wavelength = 10000 ** (2 * torch.div(channel, 2, rounding_mode="floor") / half)

    def encode(count: int) -> Tensor:
        steps = torch.arange(1, count + 1, device=device, dtype=torch.float32)
        angle = (steps / (count + 1e-6) * 2 * math.pi)[:, None] / wavelength  # [count, half]
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    y = encode(height)[:, None].expand(-1, width, -1)
    x = encode(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=2).permute(2, 0, 1)
