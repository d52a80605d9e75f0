"""Which class a pixel looks like to the backbone: linear discriminant analysis that goes on as training does (ours).

A young network blurs classes that its backbone, taught by ImageNet, can tell apart. Gaussians with one covariance,
counted from the masks, need no training. A class that is known by tags alone is one more component of a mixture, whose
mean and share follow by expectation maximisation, a round in every step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.structures import IGNORE
from weakshot_seg.training.running import accumulate

SHRINKAGE = 0.1
"""Share of the diagonal in the covariance."""
TEMPERATURE = 6.0
"""What log likelihoods are divided by: features, and pixels side by side, are no independent evidence."""
SMALL_PART = 0.1
"""Every class of an image weighs the same, but one that covers less than about this share of it weighs less."""
LEAST = 1e-3
"""Lowest prior of a class."""
WIDTH = 512
"""Most channels; if there are more, they are projected at random."""
TINY = 1e-6
"""Keeps sums from 0."""


class Discriminant(nn.Module):
    """Gaussian classes with a common covariance, of features with some ``channels`` and of ``K`` classes."""

    weight: Tensor  # [2, K] of pixels with a label, and of those found by a tag
    total: Tensor  # [2, K, C] weighted sums of their features
    second: Tensor  # [C, C] weighted sum of the outer products of labelled features
    area: Tensor  # [K] labelled pixels
    mixing: Tensor  # [K, K] what pixels are of (columns) where a tag (rows) is looked for
    projection: Tensor | None  # [channels, C]

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        width = min(channels, WIDTH)
        random = torch.randn(channels, width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("projection", random if channels > width else None)
        self.register_buffer("weight", torch.zeros(2, num_classes))
        self.register_buffer("total", torch.zeros(2, num_classes, width))
        self.register_buffer("second", torch.zeros(width, width))
        self.register_buffer("area", torch.zeros(num_classes))
        self.register_buffer("mixing", torch.eye(num_classes) + 1 / num_classes)

    def pixels(self, features: list[Tensor]) -> Tensor:
        """Features ``[B, C_i, h_i, w_i]``, joined at the size of the first: ``[B, C, h, w]``."""
        size = list(features[0].shape[-2:])
        joined = torch.cat([F.interpolate(f.float(), size, mode="bilinear", align_corners=False) for f in features], 1)
        return joined if self.projection is None else torch.einsum("bchw,cd->bdhw", joined, self.projection)

    def learn(self, pixels: Tensor, label_map: Tensor) -> None:
        """Counts the pixels ``[B, C, h, w]`` that have labels, uint8 ``[B, H, W]`` with :data:`IGNORE`."""
        count = len(self.area)
        labels = F.interpolate(label_map[:, None].float(), list(pixels.shape[-2:]), mode="nearest").long()[:, 0]
        ids = F.one_hot(labels.where(labels != IGNORE, count), count + 1)[..., :count].float().movedim(-1, 1)
        weights = ids / (ids.mean((2, 3), keepdim=True) + SMALL_PART)  # [B, K, h, w]
        self._count(0, weights, pixels)
        weighted = pixels * weights.sum(1, keepdim=True)
        accumulate(self.second, torch.einsum("bchw,bdhw->cd", weighted, pixels))
        accumulate(self.area, ids.sum((0, 2, 3)))

    def assume(self, pixels: Tensor, tags: Tensor, region: Tensor) -> None:
        """Counts all of the region as of the tags, for a start of their means; for the arguments see below."""
        self._count(1, tags[:, :, None, None] * _pooled(region, pixels), pixels)

    def explain(self, pixels: Tensor, tags: Tensor, unknown: Tensor, region: Tensor) -> Tensor:
        """Which of its tagged and unknown classes (bool ``[b, K]``) each pixel looks like: int64 ``[b, H, W]``.

        Of pixels ``[b, C, h, w]``, in the region where the tags are looked for, bool ``[b, H, W]``.
        """
        possible = tags | unknown & (self.weight[0] > TINY)
        slope, offset = self._lines()
        logits = (torch.einsum("bchw,ck->bkhw", pixels, slope) + offset[:, None, None]) / TEMPERATURE
        logits = logits + self._priors(tags).log()[:, :, None, None]
        logits = logits.masked_fill(~possible[:, :, None, None], -1e4)
        shares = logits.softmax(1) * _pooled(region, pixels)  # [b, K, h, w]
        accumulate(self.mixing, tags.float().T @ shares.sum((2, 3)))
        self._count(1, shares * tags[:, :, None, None], pixels)
        return F.interpolate(logits, list(region.shape[-2:]), mode="bilinear", align_corners=False).argmax(1)

    def _lines(self) -> tuple[Tensor, Tensor]:
        """Slopes ``[C, K]`` and offsets ``[K]`` of the log likelihoods; all that classes share is left out."""
        labelled = self.total[0] / self.weight[0].clamp(min=TINY)[:, None]  # [K, C]
        within = (self.second - self.total[0].T @ labelled) / self.weight[0].sum().clamp(min=TINY)
        diagonal = within.diagonal().clamp(min=TINY)
        covariance = (1 - SHRINKAGE) * within + SHRINKAGE * diagonal.diag()
        means = self.total.sum(0) / self.weight.sum(0).clamp(min=TINY)[:, None]
        slope = torch.linalg.solve(covariance, means.T)
        return slope, -(means.T * slope).sum(0) / 2

    def _priors(self, tags: Tensor) -> Tensor:
        """``[b, K]``: as in the regions of the tags so far, but other classes not above their share of all labels."""
        mixed = tags.float() @ (self.mixing / self.mixing.sum(1, keepdim=True))
        mixed = mixed / mixed.sum(1, keepdim=True).clamp(min=TINY)
        usual = self.area / self.area.sum().clamp(min=TINY)
        return torch.where(tags, mixed, torch.minimum(mixed, usual)).clamp(min=LEAST)

    def _count(self, row: int, weights: Tensor, pixels: Tensor) -> None:
        """Adds pixels ``[B, C, h, w]`` with weights ``[B, K, h, w]``."""
        accumulate(self.weight[row], weights.sum((0, 2, 3)))
        accumulate(self.total[row], torch.einsum("bkhw,bchw->kc", weights, pixels))


def _pooled(region: Tensor, pixels: Tensor) -> Tensor:
    """Share of each pixel ``[b, C, h, w]`` in a finer region ``[b, H, W]``: ``[b, 1, h, w]``."""
    return F.adaptive_avg_pool2d(region[:, None].float(), (pixels.shape[-2], pixels.shape[-1]))
