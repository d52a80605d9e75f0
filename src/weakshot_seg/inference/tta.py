"""Test-time augmentation: ``inference=tta``."""

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor

from weakshot_seg.inference.semantic import Classes, Inference, Network, Scores, Size
from weakshot_seg.utils.ranges import Scale


class TestTimeAugmentation:
    """Mean of the scores over scales and horizontal flip (method section 6); wraps another inference.

    Args:
        inner: how the network is applied to each scaled and flipped image.
        scales: factors on the size of the network's input; 1 is the size of the evaluation without augmentation.
        flip: also each scale mirrored.
    """

    def __init__(self, inner: Inference, scales: Annotated[Sequence[Scale], MinLen(1)], flip: bool = True) -> None:
        self.inner = inner
        self.scales = tuple(scales)
        self.flips = (False, True) if flip else (False,)

    def __call__(self, network: Network, image: Tensor) -> Scores:
        """See :class:`~weakshot_seg.inference.semantic.Inference`."""
        views = []
        for scale, flip in product(self.scales, self.flips):
            height, width = (max(1, round(length * scale)) for length in image.shape[-2:])
            view = _scaled(image, (height, width))
            views.append((self.inner(network, view.flip(-1) if flip else view), flip))
        return MeanScores(views)


class MeanScores(Scores):
    """Mean of several scores of one image, each resized first; some are of its mirror image (True)."""

    def __init__(self, views: Sequence[tuple[Scores, bool]]) -> None:
        self._views = tuple(views)
        self.num_classes = views[0][0].num_classes
        self.pixels = max(scores.pixels for scores, _ in views)

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        planes = (
            scores(classes, size).flip(-1) if mirrored else scores(classes, size) for scores, mirrored in self._views
        )
        return reduce(torch.add, planes) / len(self._views)


def _scaled(image: Tensor, size: Size) -> Tensor:
    """Image ``[3, h, w]`` -> ``[3, *size]``, bilinearly, averaged where it shrinks; float unless the size is kept."""
    if image.shape[-2:] == size:
        return image
    pixels = image[None].to(torch.float32, memory_format=torch.contiguous_format)
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)[0]
