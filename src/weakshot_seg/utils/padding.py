"""Images of different sizes in one batch."""

from collections.abc import Sequence

from torch import Tensor

PADDING_VALUE = 128  # grey, close to the mean of the normalised input
MULTIPLE = 32  # the largest stride of the backbone


def pad_batch(images: Sequence[Tensor]) -> Tensor:
    """Images ``[3, h_i, w_i]`` -> ``[B, 3, H, W]``, padded below and to the right to multiples of :data:`MULTIPLE`."""
    sizes = [image.shape[-2:] for image in images]
    height, width = (-(-max(lengths) // MULTIPLE) * MULTIPLE for lengths in zip(*sizes, strict=True))
    batch = images[0].new_full((len(images), 3, height, width), PADDING_VALUE)
    for canvas, image in zip(batch, images, strict=True):
        canvas[:, : image.shape[1], : image.shape[2]] = image
    return batch
