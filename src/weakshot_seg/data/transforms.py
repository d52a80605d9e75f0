"""Augmentation of training images and resizing of evaluation images (method, section 8), with albumentations.

A transform is a pure function of (image, label map, seed), so that no worker, epoch or resumed run can change it.
"""

import os
import random
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.padding import PADDING_VALUE
from weakshot_seg.utils.ranges import Count, NonNegative, PositiveShare, Scale, Share

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # It would ask the network for a newer version when imported.
import albumentations as A

Image = NDArray[np.uint8]

CROP_TRIES = 10

cv2.setNumThreads(0)  # the workers of the loader are the parallelism


class TrainTransform:
    """Random scale, SSD colour jitter, crop, flip, and padding at the right and bottom: what MaskFormer trains with.

    Args:
        crop_size: Side S of the square result in pixels.
        scale: Lowest and highest factor on ``short_edge``, in this order (``ConfigError``), drawn uniformly.
        short_edge: Length the shorter edge is resized to, times the factor; None: ``crop_size``.
        max_size: Limit of the longer edge after resizing; None: no limit.
        color_jitter: Strength of the colour jitter; True or 1 is that of SSD, False or 0 is off.
        category_max_area: Largest share of the labelled pixels that one class may cover in a crop. Up to 10 crops are
            tried, then the last is taken. 1: any crop will do.
    """

    def __init__(
        self,
        crop_size: Count,
        scale: tuple[Scale, Scale] = (0.5, 2.0),
        short_edge: Count | None = None,
        max_size: Count | None = None,
        flip: Share = 0.5,
        color_jitter: bool | NonNegative = True,
        category_max_area: PositiveShare = 1.0,
    ) -> None:
        if scale[0] > scale[1]:
            raise ConfigError(f"scale is {list(scale)}: give the lowest and the highest factor, such as [0.5, 2.0]")
        steps = [
            RandomShortEdge(crop_size if short_edge is None else short_edge, max_size, scale),
            LabelledCrop(crop_size, category_max_area),
            *([ssd_color_jitter(float(color_jitter))] if color_jitter else []),
            A.HorizontalFlip(p=flip),
        ]
        self._augment = A.Compose(steps, is_check_shapes=False)
        self._pad = A.PadIfNeeded(crop_size, crop_size, position="top_left", fill=PADDING_VALUE, fill_mask=IGNORE)
        self._pad.add_targets({"padding": "mask"})

    def __call__(self, image: Image, label_map: Image, seed: int) -> tuple[Image, Image, NDArray[np.bool_]]:
        """Augments an RGB image uint8 ``[h, w, 3]`` and its label map uint8 ``[h, w]``; the seed decides everything.

        Returns image ``[S, S, 3]``, label map ``[S, S]`` and padding (bool ``[S, S]``; grey and ``IGNORE``).
        """
        # All steps draw in turn from these two generators. set_random_seed() would give each step a generator of its
        # own with the same seed, and so the same coin: flipped images would be the brightened ones.
        self._augment.set_random_state(np.random.default_rng(seed), random.Random(seed))
        crop = self._augment(image=image, mask=label_map)
        padded = self._pad(**crop, padding=np.zeros_like(crop["mask"]))
        return padded["image"], padded["mask"], padded["padding"] == IGNORE


class EvalTransform:
    """Resizes an image for evaluation; its label map keeps the original size.

    ``short_edge`` is the new length of the shorter edge (None: its own), ``max_size`` limits the longer one.
    """

    def __init__(self, short_edge: Count | None = None, max_size: Count | None = None) -> None:
        self._resize = RandomShortEdge(short_edge, max_size)

    def __call__(self, image: Image) -> Image:
        """Image uint8 ``[h, w, 3]`` to uint8 ``[h', w', 3]``."""
        return np.asarray(self._resize(image=image)["image"], dtype=np.uint8)


class RandomShortEdge(A.SmallestMaxSize):
    """Resizes the shorter edge to ``short_edge`` (None: its own length) times a factor drawn from ``scale``.

    The longer edge stays within ``limit``. Images are interpolated linearly, or averaged when they shrink; masks take
    the nearest pixel.
    """

    def __init__(self, short_edge: int | None, limit: int | None, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__(max_size=1, area_for_downscale="image")  # the sizes are those of get_params_dependent_on_data
        self.short_edge, self.limit, self.scale = short_edge, limit, scale

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """The factor between the sizes, as ``scale``."""
        short, long = sorted(params["shape"][:2])
        factor = self.py_random.uniform(*self.scale) * (self.short_edge or short) / short
        return {"scale": factor if self.limit is None else min(factor, self.limit / long)}


class LabelledCrop(A.RandomCrop):
    """Random crop, of the whole edge where that is shorter than ``size``, with a limit on the largest class."""

    def __init__(self, size: int, category_max_area: float) -> None:
        super().__init__(size, size)
        self.category_max_area = category_max_area

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Left, top, right and bottom of the first crop within the limit, or else of the last one tried."""
        height, width = params["shape"][:2]
        for _ in range(CROP_TRIES):
            top = self.py_random.randint(0, max(height - self.height, 0))
            left = self.py_random.randint(0, max(width - self.width, 0))
            bottom, right = min(top + self.height, height), min(left + self.width, width)
            if self.category_max_area == 1:
                break
            counts = np.bincount(data["mask"][top:bottom, left:right].ravel(), minlength=IGNORE + 1)[:IGNORE]
            if counts.max() <= self.category_max_area * counts.sum() and np.count_nonzero(counts) > 1:
                break
        return {"crop_coords": (left, top, right, bottom)}


class RandomSaturation(A.ImageOnlyTransform):
    """Multiplies the saturation of HSV by 1 +- ``limit``; albumentations' own adds to it, or mixes with grey."""

    def __init__(self, limit: float, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.limit = limit

    def get_params(self) -> dict[str, Any]:
        """The ``factor``."""
        return {"factor": 1 + self.py_random.uniform(-self.limit, self.limit)}

    def apply(self, img: Image, factor: float, **params: Any) -> Image:
        """RGB uint8 ``[h, w, 3]`` to the same."""
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
        hsv[..., 1] = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)[hsv[..., 1]]
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def ssd_color_jitter(strength: float = 1.0) -> A.OneOf:
    """Brightness, contrast, saturation and hue, each changed with probability 0.5, contrast early or last (SSD).

    By +-32 of 255, x 0.5..1.5 (both) and +-18 of OpenCV's 180 steps (36 degrees), times ``strength``.
    """
    brightness = A.RandomBrightnessContrast(brightness_limit=strength * 32 / 255, contrast_limit=0)
    contrast = A.RandomBrightnessContrast(brightness_limit=0, contrast_limit=strength * 0.5)
    hue = A.HueSaturationValue(hue_shift_limit=strength * 18, sat_shift_limit=0, val_shift_limit=0)
    colours = [RandomSaturation(strength * 0.5), hue]
    early, late = [brightness, contrast, *colours], [brightness, *colours, contrast]
    return A.OneOf([A.Sequential(early), A.Sequential(late)], p=1)
