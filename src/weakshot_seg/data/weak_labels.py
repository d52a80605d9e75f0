"""The leak rule: what training may know of an image (method, section 1).

The masks of novel classes end in this file. :class:`WeakShotDataset` sends every label map through one look-up table
that turns novel ids into ``IGNORE``; what it hands on - and all that pairing, losses and loggers ever see - are masks
of base classes and image-level labels of novel ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from weakshot_seg.data.readers.label_files import present_classes
from weakshot_seg.data.source import LabelledImages, TaggedImages, load_labelled
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, WeakSample

Image = NDArray[np.uint8]
Augmentation = Callable[[Image, Image, int], tuple[Image, Image, NDArray[np.bool_]]]
"""(image ``[h, w, 3]``, label map ``[h, w]``, seed) -> image, label map and padding mask, all of one size."""

LabelScope = Literal["image", "crop"]
"""Novel labels are those of the whole image (tags), or those left in the augmented crop (needs novel masks)."""

Supervision = Literal["weakshot", "base_only", "full"]
"""Masks of base and tags of novel classes; masks of base classes alone (lower bound); all masks (upper bound)."""


class WeakShotDataset(Dataset[WeakSample]):
    """Augmented training images with the novel pixels hidden.

    With ``label_scope="image"`` the map is hidden before the augmentation sees it, so that not even the choice of a
    crop can depend on novel pixels. ``"crop"`` must look at the augmented map for its labels and hides it then: what
    the authors' code does, and not possible with tags alone.

    Args:
        source: Images with masks or tags.
        split: Base and novel classes.
        transform: The augmentation.
        label_scope: See :data:`LabelScope`.
        supervision: See :data:`Supervision`.

    Attributes:
        split: The split as training sees it: without novel classes when ``supervision="full"``.
        known: bool ``[len, K]``, the image-level labels that training may know; pairing works on them.

    Raises:
        ConfigError: an unknown option, or one that needs masks where there are tags.
    """

    def __init__(
        self,
        source: LabelledImages,
        split: ClassSplit,
        transform: Augmentation,
        label_scope: LabelScope = "image",
        supervision: Supervision = "weakshot",
    ) -> None:
        for name, value, allowed in (
            ("label_scope", label_scope, get_args(LabelScope)),
            ("supervision", supervision, get_args(Supervision)),
        ):
            if value not in allowed:
                raise ConfigError(f"unknown {name} '{value}': use one of {', '.join(allowed)}")
        self.split = ClassSplit(split.names, ()) if supervision == "full" else split
        self._source = source
        self._transform = transform
        self._label_scope = label_scope

        novel = list(self.split.novel)
        tagged = int(source.by_tag().any(1).sum()) if isinstance(source, TaggedImages) else 0
        for setting, unfit in (
            ("label_scope=crop", label_scope == "crop"),
            ("supervision=full", supervision == "full"),
        ):
            if tagged and unfit:
                raise ConfigError(
                    f"data.{setting} needs masks of all classes, but {tagged} images have classes with tags alone: use "
                    "data.label_scope=image and data.supervision=weakshot"
                )
        self._visible = np.arange(IGNORE + 1, dtype=np.uint8)
        self._visible[novel] = IGNORE
        is_novel = self.split.is_novel().numpy()
        self._taggable = is_novel & (supervision == "weakshot")
        self.known = source.presence() & (~is_novel | self._taggable)

    def __len__(self) -> int:
        return len(self._source)

    @property
    def source(self) -> LabelledImages:
        """The images with all labels: of no concern to training, for measuring only."""
        return self._source

    def hidden(self, index: int) -> tuple[Image, Image]:
        """An image and its label map as they are stored, but for the novel pixels, which are ``IGNORE``.

        Without a label map all pixels are.
        """
        image, label_map = load_labelled(self._source, index)
        return image, np.full(image.shape[:2], IGNORE, np.uint8) if label_map is None else self._visible[label_map]

    def __getitem__(self, draw: SampleRequest) -> WeakSample:
        """Loads, hides and augments one image.

        Args:
            draw: The image and the seed of its augmentation; the sample is a pure function of both.
        """
        image, label_map = load_labelled(self._source, draw.index)
        has_masks = label_map is not None
        if label_map is None:
            label_map = np.full(image.shape[:2], IGNORE, dtype=np.uint8)
        if self._label_scope == "image":
            # where there is a mask, it decides on the base classes, also when the crop loses one
            tags = self.known[draw.index] & (self._taggable if has_masks else True)
            image, label_map, padding = self._transform(image, self._visible[label_map], draw.seed)
        else:
            image, label_map, padding = self._transform(image, label_map, draw.seed)
            tags = present_classes(label_map, len(self._taggable)) & self._taggable
            label_map = self._visible[label_map]
        return WeakSample(
            image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            label_map=torch.from_numpy(np.ascontiguousarray(label_map)),
            padding=torch.from_numpy(np.ascontiguousarray(padding)),
            tags=torch.from_numpy(tags),
            has_masks=has_masks,
            name=self._source.name(draw.index),
        )
