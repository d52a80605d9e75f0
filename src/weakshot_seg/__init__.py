"""Weak-shot semantic segmentation: masks for base classes, image tags for novel ones (SimFormer, arXiv 2210.02270).

:func:`train` trains a model, :func:`load` makes a :class:`Segmenter` of one, :class:`Dataset` checks photos before.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weakshot_seg.interface.dataset import Dataset
    from weakshot_seg.interface.run import Run
    from weakshot_seg.interface.training import train
    from weakshot_seg.prediction.segmentation import Segmentation
    from weakshot_seg.prediction.segmenter import Segmenter, load

__version__ = "0.1.0"
__all__ = ["Dataset", "Run", "Segmentation", "Segmenter", "__version__", "load", "train"]

PLACES = {
    "Dataset": "interface.dataset",
    "Run": "interface.run",
    "Segmentation": "prediction.segmentation",
    "Segmenter": "prediction.segmenter",
    "load": "prediction.segmenter",
}
"""Imported at first use: they bring PyTorch."""


def __getattr__(name: str) -> object:
    if name == "train":
        return import_module("weakshot_seg.train")  # the module can be called
    if name in PLACES:
        return getattr(import_module(f"weakshot_seg.{PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
