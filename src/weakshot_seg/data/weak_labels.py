"""The leak rule: what training may know of an image (method, section 1).

The masks of novel classes end in this file. :class:`WeakShotDataset` sends every label map through one look-up table
that turns novel ids into ``IGNORE``; what it hands on - and all that pairing, losses and loggers ever see - are masks
of base classes and image-level labels of novel ones.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from weakshot_seg.data.source import Image, LabelledImages, by_tag, load_labelled, present_classes
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, WeakSample

Augmentation = Callable[[Image, Image, int], tuple[Image, Image, NDArray[np.bool_]]]
"""(image ``[h, w, 3]``, label map ``[h, w]``, seed) -> image, label map and padding mask, all of one size."""

LabelScope = Literal["image", "crop"]
"""Novel labels are those of the whole image (tags), or those left in the augmented crop (needs novel masks)."""

Supervision = Literal["weakshot", "base_only", "full"]
"""Masks of base and tags of novel classes; masks of base classes alone (lower bound); all masks (upper bound)."""


class WeakShotDataset(Dataset[WeakSample]):
    """Training images with the novel pixels hidden: augmented by index, or as stored (``LabelledImages``).

    With ``label_scope="image"`` the map is hidden before the augmentation sees it, so that not even the choice of a
    crop can depend on novel pixels. ``"crop"`` needs the augmented map for its labels and hides it then: what the
    authors' code does, and not possible with tags alone.

    Attributes:
        split: The split as training sees it: without novel classes when ``supervision="full"``.
        known: bool ``[len, K]``, the image-level labels that training may know; pairing works on them.
        source: The images with all labels: for measuring only.
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
            if value not in allowed:  # a wrong name would be taken for the option that shows more
                raise ConfigError(f"unknown {name} '{value}': use one of {', '.join(allowed)}")
        tagged = int(by_tag(source).any(1).sum())
        if tagged and (label_scope == "crop" or supervision == "full"):
            setting = "label_scope=crop" if label_scope == "crop" else "supervision=full"
            raise ConfigError(
                f"data.{setting} needs masks of all classes, but {tagged} images have classes with tags alone: use "
                "data.label_scope=image and data.supervision=weakshot"
            )
        self.split = ClassSplit(split.names, ()) if supervision == "full" else split
        self.source = source
        self.class_names, self.name = source.class_names, source.name
        self._transform = transform
        self._label_scope = label_scope
        novel = self.split.is_novel().numpy()
        self._visible = np.arange(IGNORE + 1, dtype=np.uint8)
        self._visible[np.flatnonzero(novel)] = IGNORE
        self._taggable = novel & (supervision == "weakshot")
        self.known = source.presence() & (~novel | self._taggable)

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> tuple[Image, Image | None]:
        """The RGB image uint8 ``[h, w, 3]`` and its map of base classes and ``IGNORE`` uint8 ``[h, w]``, if any."""
        image, label_map = load_labelled(self.source, index)
        return image, None if label_map is None else self._visible[label_map]

    def presence(self) -> NDArray[np.bool_]:
        """The image-level labels that training may know: bool ``[len, K]``, a copy."""
        return self.known.copy()

    def __getitem__(self, request: SampleRequest) -> WeakSample:
        """Loads, hides and augments one image: a pure function of the request (image and seed)."""
        whole = self._label_scope == "image"
        image, stored_map = self.load(request.index) if whole else load_labelled(self.source, request.index)
        has_masks = stored_map is not None
        label_map = np.full(image.shape[:2], IGNORE, dtype=np.uint8) if stored_map is None else stored_map
        image, label_map, padding = self._transform(image, label_map, request.seed)
        if whole:  # where there is a mask, it decides on the base classes, also when the crop loses one
            tags = self.known[request.index] & (self._taggable if has_masks else True)
        else:
            tags = present_classes(label_map, len(self._taggable)) & self._taggable
        return WeakSample(
            image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            label_map=torch.from_numpy(np.ascontiguousarray(self._visible[label_map])),
            padding=torch.from_numpy(np.ascontiguousarray(padding)),
            tags=torch.from_numpy(tags),
            has_masks=has_masks,
            name=self.name(request.index),
        )
