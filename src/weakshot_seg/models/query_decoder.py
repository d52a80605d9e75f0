"""The transformer decoder over learned proposal queries (DETR, arXiv 2005.12872; method section 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.cpu_layers import Dropout, Linear, MultiheadAttention
from weakshot_seg.models.position import sine_position_embedding


class QueryDecoder(nn.Module):
    """Learned queries attend to an image memory; every layer's output is kept for deep supervision.

    Args:
        in_channels: channels of the memory feature.
        num_queries: ``Q``.
        dim: width.
        num_layers: ``L``.
        num_heads: attention heads.
        ffn_dim: width of the feed-forward part.
        dropout: dropout probability.
    """

    def __init__(
        self,
        in_channels: int,
        num_queries: int = 100,
        dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.num_heads = num_heads
        self.project = nn.Conv2d(in_channels, dim, 1)
        self.queries = nn.Embedding(num_queries, dim)
        self.layers = nn.ModuleList(DecoderLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.kaiming_uniform_(self.project.weight, a=1)

    def forward(self, feature: Tensor, pixel_embeddings: Tensor, mask_embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Memory feature ``[B, in_channels, h, w]`` -> proposal embeddings ``[L, B, Q, dim]``.

        The other arguments are for decoders that look at the masks of their queries.
        """
        keys, values, query_position = self.prepare(feature)
        target = torch.zeros_like(query_position)
        outputs = []
        for layer in self.layers:
            target = layer(target, query_position, keys, values)
            outputs.append(self.norm(target))
        return torch.stack(outputs)

    def prepare(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memory feature -> keys and values ``[B, hw, dim]``, query positions ``[B, Q, dim]``."""
        memory = self.project(feature)
        position = sine_position_embedding(memory.shape[2], memory.shape[3], self.dim, memory.device).to(memory.dtype)
        keys = (memory + position).flatten(2).transpose(1, 2)
        values = memory.flatten(2).transpose(1, 2)
        return keys, values, self.queries.weight.expand(memory.shape[0], -1, -1)


class DecoderLayer(nn.Module):
    """Post-norm: self-attention among proposals, cross-attention to the memory, feed-forward."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.cross_attention = MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.linear1 = Linear(dim, ffn_dim)
        self.linear2 = Linear(ffn_dim, dim)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)

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
