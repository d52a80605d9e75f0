"""Large images in overlapping windows: ``inference=sliding``."""

import math
from collections.abc import Sequence
from itertools import chain

from torch import Tensor

from weakshot_seg.inference.semantic import Classes, Network, Scores, Size, apply, resize
from weakshot_seg.utils.ranges import BelowOne, Count


class SlidingWindow:
    """The network is applied to windows of each image; where they overlap, the score is their mean.

    Windows are as large as the crops of the training should be, so that objects have the sizes the network knows. An
    image that is smaller than a window is taken as a whole.

    Args:
        window: side of the windows in pixels of the network's input.
        overlap: share of a window that its neighbour covers too, 0 to below 1; the last one of a row may overlap more.
        batch_size: windows that go through the network at once.
    """

    def __init__(self, window: Count, overlap: BelowOne = 0.5, batch_size: Count = 4) -> None:
        self.window, self.overlap, self.batch_size = window, overlap, batch_size

    def __call__(self, network: Network, image: Tensor) -> Scores:
        """See :class:`~weakshot_seg.inference.semantic.Inference`."""
        content = (image.shape[-2], image.shape[-1])
        height, width = (min(self.window, length) for length in content)
        corners = [(top, left) for top in self._starts(content[0]) for left in self._starts(content[1])]
        parts: list[Scores] = []
        for start in range(0, len(corners), self.batch_size):
            some = corners[start : start + self.batch_size]
            parts += apply(network, [image[:, top : top + height, left : left + width] for top, left in some])
        return StitchedScores(parts, corners, (height, width), content)

    def _starts(self, length: int) -> list[int]:
        """Where the windows begin along an edge."""
        last = max(length - self.window, 0)
        stride = max(1, round(self.window * (1 - self.overlap)))
        return [min(i * stride, last) for i in range(math.ceil(last / stride) + 1)]


class StitchedScores(Scores):
    """Scores of an image, of size ``content``, from those of its windows.

    Corners are the top and left of each window; together the windows cover the image.
    """

    def __init__(self, parts: Sequence[Scores], corners: Sequence[Size], window: Size, content: Size) -> None:
        self._parts, self._corners = tuple(parts), tuple(corners)
        self._window, self._content = window, content
        self.num_classes = parts[0].num_classes
        self.pixels = content[0] * content[1]

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        height, width = self._window
        first = self._parts[0](classes, self._window)
        others = (part(classes, self._window) for part in self._parts[1:])
        total, count = first.new_zeros(len(first), *self._content), first.new_zeros(self._content)
        for scores, (top, left) in zip(chain((first,), others), self._corners, strict=True):
            total[:, top : top + height, left : left + width] += scores
            count[top : top + height, left : left + width] += 1
        return resize((total / count)[None], size)[0]
