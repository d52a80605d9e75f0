"""Does an exported file say what the model says?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.exporting.formats import Images, Run
from weakshot_seg.inference.semantic import Network
from weakshot_seg.inference.whole import WholeImage
from weakshot_seg.utils.padding import MULTIPLE, pad_batch

Pixels = NDArray[np.uint8]

SMALL = (17, 23)
"""A size below that of one block of padding."""


@dataclass(frozen=True)
class Agreement:
    """Of a file and the model on one batch.

    Attributes:
        images: In the batch.
        height: Of each.
        width: Of each.
        max_difference: Largest difference of two scores; NaN if a score is.
        argmax_agreement: Share of the pixels whose highest score is that of the same class, 0..1.
    """

    images: int
    height: int
    width: int
    max_difference: float
    argmax_agreement: float


class Model:
    """The model as this library applies it (``inference=whole``), with the inputs and outputs of an exported file.

    Args:
        network: on the CPU, in evaluation mode, giving the last layer alone.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    @torch.inference_mode()
    def __call__(self, images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """See :data:`~weakshot_seg.exporting.formats.Run`."""
        batch, size = torch.from_numpy(images), (images.shape[2], images.shape[3])
        found = WholeImage()(self._network, pad_batch(list(batch)), [size] * len(batch))
        scores = torch.stack([one(slice(0, one.num_classes), size) for one in found])
        return scores.argmax(1).to(torch.uint8).numpy(), scores.numpy()


def compare(run: Run, model: Run, batches: Sequence[Images]) -> Iterator[Agreement]:
    """Compares batch by batch."""
    for images in batches:
        labels, scores = run(images)
        true_labels, true_scores = model(images)
        _, _, height, width = images.shape
        difference = float(np.abs(scores - true_scores).max())
        yield Agreement(len(images), height, width, difference, float((labels == true_labels).mean()))


def batches_of(photos: Sequence[Pixels], dtype: str) -> list[Images]:
    """Every photo alone; then several, resized to their first, a multiple of 32, an odd larger and a very small size.

    Args:
        photos: uint8 ``[h, w, 3]``, of any sizes.
        dtype: of the batches, see :class:`~weakshot_seg.exporting.metadata.Metadata`.
    """
    height, width = photos[0].shape[:2]
    even = (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
    odd = (height * 5 // 4 | 1, width * 4 // 3 | 1)
    groups = [([photo], photo.shape[:2]) for photo in photos]
    for count, size in ((max(2, len(photos)), (height, width)), (2, even), (1, odd), (3, SMALL)):
        groups.append(([photos[i % len(photos)] for i in range(count)], size))
    return [np.stack([_resized(photo, size) for photo in group]).astype(dtype) for group, size in groups]


def _resized(photo: Pixels, size: tuple[int, ...]) -> Pixels:
    """``[3, *size]``."""
    height, width = size
    return np.asarray(Image.fromarray(photo).resize((width, height))).transpose(2, 0, 1)
