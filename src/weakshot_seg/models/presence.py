"""Which classes are in an image at all (ours, not in the paper)."""

import torch
from torch import Tensor, nn

PRIOR = -2.0  # logit: of many classes, few are in an image


class PresenceHead(nn.Module):
    """A linear classifier of a pooled feature (mean and maximum over its pixels).

    Padding is pooled, too: of an image that is padded to a multiple of the stride, no pixel of the feature is padding
    alone.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * channels)
        self.classify = nn.Linear(2 * channels, num_classes)
        nn.init.constant_(self.classify.bias, PRIOR)

    def forward(self, feature: Tensor) -> Tensor:
        """``[B, channels, h, w]`` -> logits ``[B, K]``."""
        pooled = torch.cat([feature.mean((2, 3)), feature.amax((2, 3))], 1)
        logits: Tensor = self.classify(self.norm(pooled))
        return logits
