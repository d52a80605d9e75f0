"""Test-time augmentation: ``inference=tta``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Gt, Le, MinLen
from torch import Tensor

from weakshot_seg.inference.semantic import Classes, Inference, Network, Scores, Size
from weakshot_seg.utils.padding import pad_batch

Scales = Annotated[Sequence[Annotated[float, Gt(0), Le(100)]], MinLen(1)]


class TestTimeAugmentation:
    """Mean of the scores over scales and horizontal flip (method section 6); wraps another inference.

    Args:
        inner: how the network is applied to each scaled and flipped image.
        scales: factors on the size of the network's input; 1 is the size of the evaluation without augmentation.
        flip: also each scale mirrored.
    """

    def __init__(self, inner: Inference, scales: Scales, flip: bool = True) -> None:
        self.inner = inner
        self.scales = tuple(scales)
        self.flips = (False, True) if flip else (False,)

    def __call__(self, network: Network, images: Tensor, contents: Sequence[Size]) -> list[Scores]:
        """See :class:`~weakshot_seg.inference.semantic.Inference`."""
        views: list[list[Scores]] = []
        for scale in self.scales:
            sizes = [(max(1, round(h * scale)), max(1, round(w * scale))) for h, w in contents]
            scaled = [
                _scaled(image[:, :h, :w], size) for image, (h, w), size in zip(images, contents, sizes, strict=True)
            ]
            for flip in self.flips:
                batch = pad_batch([image.flip(-1) for image in scaled] if flip else scaled)
                scores = self.inner(network, batch, sizes)
                views.append([MirroredScores(s) for s in scores] if flip else scores)
        return [MeanScores(of_image) for of_image in zip(*views, strict=True)]


class MirroredScores(Scores):
    """Scores of an image from those of its mirror image."""

    def __init__(self, mirrored: Scores) -> None:
        self._mirrored = mirrored
        self.num_classes, self.pixels = mirrored.num_classes, mirrored.pixels

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        return self._mirrored(classes, size).flip(-1)


class MeanScores(Scores):
    """Mean of several scores of one image, each resized first."""

    def __init__(self, views: Sequence[Scores]) -> None:
        self._views = tuple(views)
        self.num_classes = views[0].num_classes
        self.pixels = max(view.pixels for view in views)

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        total = self._views[0](classes, size)
        for view in self._views[1:]:
            total = total + view(classes, size)
        return total / len(self._views)


def _scaled(image: Tensor, size: Size) -> Tensor:
    """Image ``[3, h, w]`` -> ``[3, *size]``, bilinearly, averaged where it shrinks; float unless the size is kept."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image[None].float(), size, mode="bilinear", align_corners=False, antialias=True)[0]
