"""The network sees every image as a whole: ``inference=whole``."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from weakshot_seg.inference.semantic import Network, Scores, Size, scores_of


class WholeImage:
    """One pass over the batch; implements :class:`~weakshot_seg.inference.semantic.Inference`."""

    def __call__(self, network: Network, images: Tensor, contents: Sequence[Size]) -> list[Scores]:
        """See :class:`~weakshot_seg.inference.semantic.Inference`."""
        return scores_of(network(images), (images.shape[-2], images.shape[-1]), contents)
