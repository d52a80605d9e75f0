"""The leak rule: what training may know of an image (method, section 1).

The masks of novel classes end in this file. :class:`WeakShotDataset` sends every label map through a look-up table that
turns novel ids, and those of all other classes that the image does not declare to be annotated, into ``IGNORE``; what
it hands on - and all that pairing, losses and loggers ever see - are declared masks of base classes and image-level
labels.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from weakshot_seg.data.source import Image, LabelledImages, by_tag, load_labelled, present_classes, states_of
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE, ClassSplit, Knowledge, SampleRequest, WeakSample

Augmentation = Callable[[Image, Image, int], tuple[Image, Image, NDArray[np.bool_]]]
"""(image ``[h, w, 3]``, label map ``[h, w]``, seed) -> image, label map and padding mask, all of one size."""

LabelScope = Literal["image", "crop"]
"""Novel labels are those of the whole image (tags), or those left in the augmented crop (needs novel masks)."""

Supervision = Literal["weakshot", "base_only", "full"]
"""Masks of base and tags of novel classes; masks of base classes alone (lower bound); all masks (upper bound)."""


class WeakShotDataset(Dataset[WeakSample]):
    """Training images with all undeclared pixels hidden: augmented by index, or as stored (``LabelledImages``).

    With ``label_scope="image"`` the map is hidden before the augmentation sees it, so that not even the choice of a
    crop can depend on hidden pixels. ``"crop"`` needs the augmented map for its labels and hides it then: what the
    authors' code does, and not possible with tags alone.

    Attributes:
        split: The split as training sees it: without novel classes when ``supervision="full"``.
        knowledge: uint8 ``[len, K]``, the ``Knowledge`` of each class that training may have; novel ones are never
            ``MASK``.
        known: bool ``[len, K]``, the classes that training may know to be in each image; pairing works on them.
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
        if label_scope == "crop" or supervision == "full":
            no_novel = np.zeros(len(source.class_names), dtype=bool)
            lacking = int(((states_of(source, no_novel) != Knowledge.MASK) | by_tag(source)).any(1).sum())
            if lacking:
                setting = "label_scope=crop" if label_scope == "crop" else "supervision=full"
                raise ConfigError(
                    f"data.{setting} needs masks of all classes, but {lacking} images have no mask of some class: use "
                    "data.label_scope=image and data.supervision=weakshot"
                )
        self.split = ClassSplit(split.names, ()) if supervision == "full" else split
        self.source = source
        self.class_names, self.name = source.class_names, source.name
        self._transform = transform
        self._label_scope = label_scope
        novel, presence = self.split.is_novel().numpy(), source.presence()
        states = states_of(source, novel)
        masked = (states == Knowledge.MASK) & novel
        states[masked & presence], states[masked & ~presence] = Knowledge.PRESENT, Knowledge.ABSENT
        if supervision == "base_only":
            states[:, novel] = Knowledge.ABSENT
        self.knowledge = states
        self.known = (states == Knowledge.PRESENT) | ((states == Knowledge.MASK) & presence)

    def __len__(self) -> int:
        return len(self.source)

    def load(self, index: int) -> tuple[Image, Image | None]:
        """The RGB image uint8 ``[h, w, 3]`` and its map of declared classes and ``IGNORE`` uint8 ``[h, w]``, if any."""
        image, label_map = load_labelled(self.source, index)
        return image, None if label_map is None else self._hide(index, label_map)

    def _hide(self, index: int, label_map: Image) -> Image:
        visible = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
        declared = np.flatnonzero(self.knowledge[index] == Knowledge.MASK)
        visible[declared] = declared
        return visible[label_map]

    def presence(self) -> NDArray[np.bool_]:
        """The image-level labels that training may know: bool ``[len, K]``, a copy."""
        return self.known.copy()

    def states(self, novel: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """What training may know, whichever classes are novel: uint8 ``[len, K]``, a copy."""
        return self.knowledge.copy()

    def __getitem__(self, request: SampleRequest) -> WeakSample:
        """Loads, hides and augments one image: a pure function of the request (image and seed)."""
        whole = self._label_scope == "image"
        image, stored_map = self.load(request.index) if whole else load_labelled(self.source, request.index)
        states = self.knowledge[request.index].copy()
        if stored_map is None and (states == Knowledge.MASK).any():
            raise DataError(f"{self.name(request.index)} has no mask: its source needs states() that say so")
        label_map = np.full(image.shape[:2], IGNORE, dtype=np.uint8) if stored_map is None else stored_map
        image, label_map, padding = self._transform(image, label_map, request.seed)
        if not whole:  # then every image has masks of all classes
            lost = (states == Knowledge.PRESENT) & ~present_classes(label_map, len(states))
            states[lost] = Knowledge.ABSENT
            label_map = self._hide(request.index, label_map)
        return WeakSample(
            image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            label_map=torch.from_numpy(np.ascontiguousarray(label_map)),
            padding=torch.from_numpy(np.ascontiguousarray(padding)),
            states=torch.from_numpy(states),
            name=self.name(request.index),
        )
