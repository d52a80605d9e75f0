"""Heads on the proposal embeddings: what a proposal is (class) and where it is (mask embedding)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.cpu_layers import Linear


class ProposalHead(nn.Module):
    """Linear classifier to K+1 classes (last = no object) and a 3-layer MLP to mask embeddings (method section 2).

    Args:
        dim: width of the proposal embeddings.
        num_classes: ``K``.
        embedding_dim: channels ``C`` of the mask embeddings.
    """

    def __init__(self, dim: int, num_classes: int, embedding_dim: int = 256) -> None:
        super().__init__()
        self.classify = Linear(dim, num_classes + 1)
        self.mask_embed = nn.ModuleList([Linear(dim, dim), Linear(dim, dim), Linear(dim, embedding_dim)])

    def forward(self, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., dim]`` -> (class logits ``[..., K+1]``, mask embeddings ``[..., C]``)."""
        return self.classify(proposals), self.mask_embeddings(proposals)

    def mask_embeddings(self, proposals: Tensor) -> Tensor:
        """``[..., dim]`` -> mask embeddings ``[..., C]``."""
        hidden = proposals
        for layer in self.mask_embed[:-1]:
            hidden = F.relu(layer(hidden))
        return self.mask_embed[-1](hidden)
