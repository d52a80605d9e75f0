"""Augmentation of training images and resizing of evaluation images (method, section 8).

OpenCV does the work. A transform is a pure function of (image, label map, seed): its one random generator is made
from the seed of the :class:`~weakshot_seg.structures.Draw`, so that no worker, epoch or resumed run can repeat or
change it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE

Image = NDArray[np.uint8]

PADDING_VALUE = 128
"""Grey of padded pixels: close to the mean of the normalised input."""
CROP_TRIES = 10

cv2.setNumThreads(0)  # The workers of the loader are the parallelism; threads within each of them only compete.


class TrainTransform:
    """Random scale, SSD colour jitter, crop, flip, and padding at the right and bottom: what MaskFormer trains with.

    Args:
        crop_size: Side of the square result in pixels.
        scale: Lowest and highest factor on ``short_edge``, drawn uniformly.
        short_edge: Length the shorter edge is resized to, times the factor; None: ``crop_size``.
        max_size: Limit of the longer edge after resizing; None: no limit.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of the colour jitter; True or 1 is that of SSD, False or 0 is off.
        category_max_area: Largest share of the labelled pixels that one class may cover in a crop. Up to 10 crops are
            tried, then the last is taken. 1: any crop will do.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        crop_size: int,
        scale: tuple[float, float] = (0.5, 2.0),
        short_edge: int | None = None,
        max_size: int | None = None,
        flip: float = 0.5,
        color_jitter: bool | float = True,
        category_max_area: float = 1.0,
    ) -> None:
        low, high = scale
        if crop_size < 1 or (short_edge is not None and short_edge < 1) or (max_size is not None and max_size < 1):
            raise ConfigError(
                f"crop_size, short_edge and max_size must be positive, got {crop_size, short_edge, max_size}"
            )
        if not 0 < low <= high:
            raise ConfigError(
                f"scale is [{low}, {high}]: give a positive lowest and highest factor, such as [0.5, 2.0]"
            )
        if not 0 <= flip <= 1 or not 0 < category_max_area <= 1 or color_jitter < 0:
            raise ConfigError(
                "flip must be in [0, 1], category_max_area in (0, 1], color_jitter at least 0, got "
                f"{flip}, {category_max_area}, {color_jitter}"
            )
        self.crop_size = crop_size
        self.scale = (low, high)
        self.short_edge = crop_size if short_edge is None else short_edge
        self.max_size = max_size
        self.flip = flip
        self.color_jitter = float(color_jitter)
        self.category_max_area = category_max_area

    def __call__(self, image: Image, label_map: Image, seed: int) -> tuple[Image, Image, NDArray[np.bool_]]:
        """Augments one image.

        Args:
            image: uint8 ``[h, w, 3]``, RGB.
            label_map: uint8 ``[h, w]``.
            seed: Decides everything.

        Returns:
            Image ``[S, S, 3]``, label map ``[S, S]`` and padding (bool ``[S, S]``) with S = ``crop_size``. Padding is
            grey and ``IGNORE``.
        """
        rng = np.random.default_rng(seed)
        height, width = label_map.shape
        height, width = scaled_size(height, width, self.short_edge * rng.uniform(*self.scale), self.max_size)
        label_map = _resize(label_map, height, width, cv2.INTER_NEAREST)
        top, left = self._corner(label_map, rng)
        window = np.s_[top : top + self.crop_size, left : left + self.crop_size]
        label_map = label_map[window]
        image = _resize(image, height, width, cv2.INTER_LINEAR)[window]
        if self.color_jitter:
            image = ssd_color_jitter(image, rng, self.color_jitter)
        if rng.random() < self.flip:
            image, label_map = image[:, ::-1], label_map[:, ::-1]
        return self._pad(image, label_map)

    def _corner(self, label_map: Image, rng: np.random.Generator) -> tuple[int, int]:
        """Top and left of a crop in which no class covers more than ``category_max_area`` of the labelled pixels."""
        size = self.crop_size
        room = np.maximum(np.array(label_map.shape) - size, 0)
        top, left = rng.integers(room + 1).tolist()
        if self.category_max_area == 1:
            return top, left
        for _ in range(CROP_TRIES - 1):
            counts = np.bincount(label_map[top : top + size, left : left + size].ravel(), minlength=IGNORE + 1)[:IGNORE]
            if counts.max() <= self.category_max_area * counts.sum() and np.count_nonzero(counts) > 1:
                break
            top, left = rng.integers(room + 1).tolist()
        return top, left

    def _pad(self, image: Image, label_map: Image) -> tuple[Image, Image, NDArray[np.bool_]]:
        size = self.crop_size
        height, width = label_map.shape
        padding = np.zeros((size, size), dtype=bool)
        if (height, width) == (size, size):
            return image, label_map, padding
        canvas = np.full((size, size, 3), PADDING_VALUE, dtype=np.uint8)
        labels = np.full((size, size), IGNORE, dtype=np.uint8)
        canvas[:height, :width], labels[:height, :width] = image, label_map
        padding[height:] = True
        padding[:, width:] = True
        return canvas, labels, padding


class EvalTransform:
    """Resizes an image for evaluation; its label map keeps the original size.

    Args:
        short_edge: Length the shorter edge is resized to; None keeps the size of the image.
        max_size: Limit of the longer edge; None: no limit.

    Raises:
        ConfigError: an argument is not positive.
    """

    def __init__(self, short_edge: int | None = None, max_size: int | None = None) -> None:
        if (short_edge is not None and short_edge < 1) or (max_size is not None and max_size < 1):
            raise ConfigError(f"short_edge and max_size must be positive or null, got {short_edge} and {max_size}")
        self.short_edge = short_edge
        self.max_size = max_size

    def __call__(self, image: Image) -> Image:
        """Image uint8 ``[h, w, 3]`` to uint8 ``[h', w', 3]``."""
        height, width = image.shape[:2]
        short_edge = min(height, width) if self.short_edge is None else self.short_edge
        return _resize(image, *scaled_size(height, width, short_edge, self.max_size), cv2.INTER_LINEAR)


def scaled_size(height: int, width: int, short_edge: float, max_size: int | None = None) -> tuple[int, int]:
    """Height and width with the shorter edge at ``short_edge``, or less if the longer one would exceed ``max_size``."""
    factor = short_edge / min(height, width)
    if max_size is not None:
        factor = min(factor, max_size / max(height, width))
    return max(round(height * factor), 1), max(round(width * factor), 1)


def ssd_color_jitter(image: Image, rng: np.random.Generator, strength: float = 1.0) -> Image:
    """Brightness, contrast, saturation and hue, each changed with probability 0.5, contrast first or last (SSD).

    Args:
        image: uint8 ``[h, w, 3]``, RGB.
        rng: Decides the changes.
        strength: 1: brightness +-32 of 255, contrast and saturation x 0.5..1.5, hue +-18 degrees; other values scale
            these.
    """
    brightness, contrast, saturation, hue = strength * rng.uniform(-1, 1, 4) * (rng.random(4) < 0.5)
    contrast_last = rng.random() < 0.5
    levels = np.arange(256)
    brighter = np.clip(levels + 32 * brightness, 0, 255)
    gain = 1 + 0.5 * contrast
    image = _look_up(image, brighter if contrast_last else brighter * gain)
    if saturation or hue:
        # The FULL codes spread the 360 degrees of hue over 256 levels.
        turned = (levels + round(18 * hue * 256 / 360)) % 256
        table = np.stack([turned, levels * (1 + 0.5 * saturation), levels], axis=-1)
        hsv = _look_up(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
        image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)
    return _look_up(image, levels * gain) if contrast_last and contrast else image


def _look_up(image: NDArray[Any], table: NDArray[Any]) -> Image:
    """Maps each channel through ``table`` ``[256]`` or ``[256, channels]``, rounded and clipped."""
    entries = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), entries.reshape(1, 256, -1)), dtype=np.uint8)


def _resize(array: Image, height: int, width: int, interpolation: int) -> Image:
    if array.shape[:2] == (height, width):
        return array
    return np.asarray(cv2.resize(array, (width, height), interpolation=interpolation), dtype=np.uint8)
