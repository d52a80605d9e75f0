"""The leak rule: what training may know of an image (method, section 1).

The masks of novel classes end in this file. :class:`HiddenImages` sends every label map through one look-up table that
turns novel ids into ``IGNORE``; what :class:`WeakShotDataset` hands on - and all that pairing, losses and loggers ever
see - are masks of base classes and image-level labels of novel ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from weakshot_seg.data.source import LabelledImages, TaggedImages, load_labelled, present_classes
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE, ClassSplit, SampleRequest, WeakSample

Image = NDArray[np.uint8]
Augmentation = Callable[[Image, Image, int], tuple[Image, Image, NDArray[np.bool_]]]
"""(image ``[h, w, 3]``, label map ``[h, w]``, seed) -> image, label map and padding mask, all of one size."""

LabelScope = Literal["image", "crop"]
"""Novel labels are those of the whole image (tags), or those left in the augmented crop (needs novel masks)."""

Supervision = Literal["weakshot", "base_only", "full"]
"""Masks of base and tags of novel classes; masks of base classes alone (lower bound); all masks (upper bound)."""


class HiddenImages:
    """The images of a source with novel pixels hidden; implements ``LabelledImages``.

    Args:
        source: Images with all labels.
        novel: bool ``[K]``.
        known: bool ``[len, K]``, the image-level labels that training may know.
    """

    def __init__(self, source: LabelledImages, novel: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
        self.class_names = source.class_names
        self.name = source.name
        self._source = source
        self._known = known
        self._visible = np.arange(IGNORE + 1, dtype=np.uint8)
        self._visible[np.flatnonzero(novel)] = IGNORE

    def __len__(self) -> int:
        return len(self._source)

    def hide(self, label_map: Image) -> Image:
        """A label map with ``IGNORE`` in place of the novel classes."""
        return self._visible[label_map]

    def load(self, index: int) -> tuple[Image, Image | None]:
        """The RGB image uint8 ``[h, w, 3]`` and its map of base classes and ``IGNORE`` uint8 ``[h, w]``, if any."""
        image, label_map = load_labelled(self._source, index)
        return image, None if label_map is None else self.hide(label_map)

    def presence(self) -> NDArray[np.bool_]:
        """The image-level labels that training may know: bool ``[len, K]``, a copy."""
        return self._known.copy()


class WeakShotDataset(Dataset[WeakSample]):
    """Augmented training images with the novel pixels hidden.

    With ``label_scope="image"`` the map is hidden before the augmentation sees it, so that not even the choice of a
    crop can depend on novel pixels. ``"crop"`` needs the augmented map for its labels and hides it then: what the
    authors' code does, and not possible with tags alone.

    Args:
        source: Images with masks or tags.
        split: Base and novel classes.
        transform: The augmentation.
        label_scope: See :data:`LabelScope`.
        supervision: See :data:`Supervision`.

    Attributes:
        split: The split as training sees it: without novel classes when ``supervision="full"``.
        known: bool ``[len, K]``, the image-level labels that training may know; pairing works on them.
        hidden: The images as they are stored, novel pixels hidden.
        source: The images with all labels: for measuring only.

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
        # a wrong name would be taken for the option that shows more
        for name, value, allowed in (
            ("label_scope", label_scope, get_args(LabelScope)),
            ("supervision", supervision, get_args(Supervision)),
        ):
            if value not in allowed:
                raise ConfigError(f"unknown {name} '{value}': use one of {', '.join(allowed)}")
        tagged = int(source.by_tag().any(1).sum()) if isinstance(source, TaggedImages) else 0
        if tagged and (label_scope == "crop" or supervision == "full"):
            setting = "label_scope=crop" if label_scope == "crop" else "supervision=full"
            raise ConfigError(
                f"data.{setting} needs masks of all classes, but {tagged} images have classes with tags alone: use "
                "data.label_scope=image and data.supervision=weakshot"
            )
        self.split = ClassSplit(split.names, ()) if supervision == "full" else split
        self.source = source
        self._transform = transform
        self._label_scope = label_scope
        novel = self.split.is_novel().numpy()
        self._taggable = novel & (supervision == "weakshot")
        self.known = source.presence() & (~novel | self._taggable)
        self.hidden = HiddenImages(source, novel, self.known)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, request: SampleRequest) -> WeakSample:
        """Loads, hides and augments one image.

        Args:
            request: The image and the seed of its augmentation; the sample is a pure function of both.
        """
        images = self.hidden if self._label_scope == "image" else self.source
        image, stored_map = load_labelled(images, request.index)
        has_masks = stored_map is not None
        label_map = np.full(image.shape[:2], IGNORE, dtype=np.uint8) if stored_map is None else stored_map
        image, label_map, padding = self._transform(image, label_map, request.seed)
        if self._label_scope == "image":
            # where there is a mask, it decides on the base classes, also when the crop loses one
            tags = self.known[request.index] & (self._taggable if has_masks else True)
        else:
            tags = present_classes(label_map, len(self._taggable)) & self._taggable
        return WeakSample(
            image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            label_map=torch.from_numpy(np.ascontiguousarray(self.hidden.hide(label_map))),
            padding=torch.from_numpy(np.ascontiguousarray(padding)),
            tags=torch.from_numpy(tags),
            has_masks=has_masks,
            name=self.source.name(request.index),
        )
