"""Images for evaluation: whole, with their true maps at the original size."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from weakshot_seg.data.source import Image, LabelledImages, load_labelled
from weakshot_seg.structures import IGNORE


class EvalSample(NamedTuple):
    """An image to predict, and what it is compared with.

    Attributes:
        image: uint8 ``[3, H, W]``, RGB, resized for the model.
        truth: uint8 ``[h, w]`` at the original size, all classes; :data:`IGNORE` = not evaluated.
        name: of the image.
        candidates: ids of the classes that may be predicted; None: all.
    """

    image: Tensor
    truth: Tensor
    name: str
    candidates: tuple[int, ...] | None = None


class EvalDataset(Dataset[EvalSample]):
    """All images of a source, for evaluation; pixels of images without a label map count for nothing.

    Args:
        source: Images with the labels to compare with.
        transform: Resizes an image uint8 ``[h, w, 3]``.
        world_size: The length is rounded up to a multiple of this, so that all processes get as many images. The
            surplus images have empty maps.
        candidates: bool ``[len(source), K]``, the classes that may be predicted in each image; None: all.
    """

    def __init__(
        self,
        source: LabelledImages,
        transform: Callable[[Image], Image],
        world_size: int = 1,
        candidates: NDArray[np.bool_] | None = None,
    ) -> None:
        self._source, self._transform, self._candidates = source, transform, candidates
        self._length = -(-len(source) // world_size) * world_size

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> EvalSample:
        original = index % len(self._source)
        image, truth = load_labelled(self._source, original)
        if truth is None or index != original:
            truth = np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        candidates = None if self._candidates is None else tuple(np.flatnonzero(self._candidates[original]).tolist())
        name, pixels = self._source.name(original), model_input(image, self._transform)
        return EvalSample(pixels, torch.from_numpy(truth), name, candidates)


def model_input(image: Image, transform: Callable[[Image], Image]) -> Tensor:
    """What a model sees of an image uint8 ``[h, w, 3]``: resized, uint8 ``[3, H, W]``; large ones are not copied."""
    return torch.from_numpy(np.require(transform(image), requirements="W")).permute(2, 0, 1)
