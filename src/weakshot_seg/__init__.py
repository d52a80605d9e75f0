"""Weak-shot semantic segmentation: masks for base classes, image tags for novel ones (SimFormer, arXiv 2210.02270).

:func:`load` makes a :class:`Segmenter` from a checkpoint.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakshot_seg.prediction.segmentation import Segmentation
    from weakshot_seg.prediction.segmenter import Segmenter, load

__version__ = "0.1.0"
__all__ = ["Segmentation", "Segmenter", "__version__", "load"]


def __getattr__(name: str) -> object:
    if name in ("Segmentation", "Segmenter", "load"):  # imported at first use: they bring PyTorch
        from weakshot_seg.prediction import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
