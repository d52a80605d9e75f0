"""Large images in overlapping windows: ``inference=sliding``."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from weakshot_seg.inference.semantic import SCORES_AT_ONCE, Classes, Network, Scores, Size, apply, resize
from weakshot_seg.utils.ranges import BelowOne, Count

Window = tuple[Size, Scores]
"""The top and left corner of a window in the image, and its scores."""

KEPT_AT_ONCE = 2 * SCORES_AT_ONCE
"""Numbers in the outputs of all windows of an image that are kept (1 GB)."""


class SlidingWindow:
    """The network is applied to windows of each image; where they overlap, the score is their mean.

    Windows are as large as the crops of the training should be, so that objects have the sizes the network knows. An
    image that is smaller than a window is taken as a whole. Of very large images, outputs are not kept: the windows are
    computed again whenever scores are asked for, and :func:`~weakshot_seg.inference.semantic.best_class` asks once.

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
        window = (min(self.window, content[0]), min(self.window, content[1]))
        corners = [(top, left) for top in self._starts(content[0]) for left in self._starts(content[1])]
        compute = partial(self._windows, network, image, corners, window)
        windows = compute()
        first = next(windows)
        if first[1].stored * len(corners) > KEPT_AT_ONCE:
            return StreamedScores(compute, first[1].num_classes, window, content)
        return StitchedScores([first, *windows], window, range(content[0]), content[1])

    def _windows(
        self, network: Network, image: Tensor, corners: Sequence[Size], window: Size
    ) -> Iterator[tuple[Size, Scores]]:
        for start in range(0, len(corners), self.batch_size):
            some = corners[start : start + self.batch_size]
            crops = [image[:, top : top + window[0], left : left + window[1]] for top, left in some]
            yield from zip(some, apply(network, crops), strict=True)

    def _starts(self, length: int) -> list[int]:
        """Where the windows begin along an edge."""
        last = max(length - self.window, 0)
        stride = max(1, round(self.window * (1 - self.overlap)))
        return [min(i * stride, last) for i in range(math.ceil(last / stride) + 1)]


class StitchedScores(Scores):
    """Scores of some ``rows`` of an image, ``width`` pixels wide, from those of all windows that reach into them."""

    def __init__(self, parts: Sequence[Window], window: Size, rows: range, width: int) -> None:
        self._parts, self._window, self._rows, self._width = tuple(parts), window, rows, width
        self.num_classes = parts[0][1].num_classes
        self.pixels = len(rows) * width

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        (height, width), start, stop = self._window, self._rows.start, self._rows.stop
        total, count = torch.empty(0), torch.empty(0)
        for (top, left), part in self._parts:
            scores = part(classes, self._window)
            if not total.numel():
                total = scores.new_zeros(len(scores), len(self._rows), self._width)
                count = scores.new_zeros(total.shape[1:])
            low, high = max(top, start), min(top + height, stop)
            place = slice(low - start, high - start), slice(left, left + width)
            total[:, *place] += scores[:, low - top : high - top]
            count[place] += 1
        return resize((total / count)[None], size)[0]


class StreamedScores(Scores):
    """Scores of a large image, of size ``content``: ``compute`` gives its windows, row by row, as often as needed."""

    def __init__(self, compute: Callable[[], Iterator[Window]], num_classes: int, window: Size, content: Size) -> None:
        self._compute, self._window, self._content = compute, window, content
        self.num_classes, self.pixels = num_classes, content[0] * content[1]

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        planes: Tensor | None = None
        for rows, stripe in self._stripes():
            scores = stripe(classes, (len(rows), self._content[1]))
            planes = scores.new_empty(len(scores), *self._content) if planes is None else planes
            planes[:, rows.start : rows.stop] = scores
        assert planes is not None
        return resize(planes[None], size)[0]

    def stripes(self, size: Size) -> Iterator[tuple[range, Scores]]:
        """See :class:`~weakshot_seg.inference.semantic.Scores`."""
        return self._stripes() if size == self._content else super().stripes(size)

    def _stripes(self) -> Iterator[tuple[range, Scores]]:
        """Rows are finished when the next row of windows begins below them; few windows are in memory at any time."""
        parts: list[Window] = []
        done, (height, width) = 0, self._content
        for window in self._compute():
            top = window[0][0]
            if top > done:
                yield range(done, top), StitchedScores(parts, self._window, range(done, top), width)
                parts = [part for part in parts if part[0][0] + self._window[0] > top]
                done = top
            parts.append(window)
        yield range(done, height), StitchedScores(parts, self._window, range(done, height), width)
