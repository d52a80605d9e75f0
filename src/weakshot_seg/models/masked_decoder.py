"""The decoder of Mask2Former (arXiv 2112.01527, section 3.2): learned query features and masked attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.query_decoder import QueryDecoder


class MaskedQueryDecoder(QueryDecoder):
    """Queries start as learned features, predict at once, and then attend within the masks they have predicted.

    With one query per class the learned features are class prototypes from the first step on, and attention pools each
    class over its own pixels. Not the paper's decoder; it converges in fewer steps.

    Args:
        in_channels: channels of the memory feature.
        num_queries: ``Q``.
        **options: see :class:`QueryDecoder`.
    """

    def __init__(self, in_channels: int, num_queries: int = 100, **options: Any) -> None:
        super().__init__(in_channels, num_queries, **options)
        self.features = nn.Embedding(num_queries, self.dim)

    def forward(self, feature: Tensor, pixel_embeddings: Tensor, mask_embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Memory feature to proposal embeddings, those before the first layer included.

        Args:
            feature: ``[B, in_channels, h, w]``.
            pixel_embeddings: ``[B, C, H, W]`` of any size.
            mask_embed: proposal embeddings ``[B, Q, dim]`` -> mask embeddings ``[B, Q, C]``.

        Returns:
            ``[L + 1, B, Q, dim]``.
        """
        keys, values, query_position = self.prepare(feature)
        # masks are linear in the pixel embeddings: these resized once are the masks of all layers resized
        pixels = F.interpolate(pixel_embeddings.detach(), feature.shape[-2:], mode="bilinear", align_corners=False)
        target = self.features.weight.expand(feature.shape[0], -1, -1)
        outputs = [self.norm(target)]
        for layer in self.layers:
            outside = self._outside(mask_embed(outputs[-1]), pixels)
            target = layer(target, query_position, keys, values, outside)
            outputs.append(self.norm(target))
        return torch.stack(outputs)

    @torch.no_grad()
    def _outside(self, mask_embeddings: Tensor, pixels: Tensor) -> Tensor:
        """Bool ``[B * heads, Q, hw]``: pixels a query must not attend to; a query with an empty mask attends to all."""
        outside = mask_embeddings @ pixels.flatten(2) < 0  # sigmoid < 0.5
        outside &= ~outside.all(2, keepdim=True)
        return outside.repeat_interleave(self.num_heads, 0)
