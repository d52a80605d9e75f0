"""The typed parts that flow through the library: class split, sample, batch, output, assignment.

One legend of axes, the same letters everywhere: ``B`` images, ``Q`` proposals (queries), ``K`` classes, ``N`` target
slots of an image, ``M`` targets with a mask in the whole batch, ``L`` decoder layers, ``C`` embedding channels, ``P``
sampled pixels, ``H W`` image pixels, ``h w`` pixels of the mask logits (stride 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.utils.embeddings import mask_products, take_points
from weakshot_seg.utils.movable import Movable

IGNORE = 255
"""Label of every pixel whose class is unknown: unlabelled, padding and, in training, all novel pixels."""


class Knowledge(IntEnum):
    """What is known of a class in an image: the state of each pair of an image b and a class k.

    In the paper's setting (method section 1) base classes are ``MASK``, novel ones ``PRESENT`` or ``ABSENT``.
    """

    UNKNOWN = 0
    """Nobody looked: the class may be there or not."""
    ABSENT = 1
    """No pixel is of the class."""
    PRESENT = 2
    """A tag: some pixels are of the class."""
    MASK = 3
    """All pixels of the class are labelled, also if there are none."""


@dataclass(frozen=True)
class ClassSplit:
    """Which of the ``K`` classes are novel (image-level labels only); all others are base (pixel masks).

    Attributes:
        names: ``K`` class names; the position is the class id.
        novel: Ids of the novel classes, ascending. Empty = fully supervised.

    Raises:
        ValueError: an id is out of range or named twice, two classes share a name, or no base class is left.
    """

    names: tuple[str, ...]
    novel: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "novel", tuple(sorted(self.novel)))
        if not 0 < self.num_classes < IGNORE:
            raise ValueError(f"{self.num_classes} classes given, but label maps hold 1 to {IGNORE - 1}")
        doubled = sorted({name for name in self.names if self.names.count(name) > 1})
        if doubled:
            raise ValueError(f"class names must be unique, these are given twice: {', '.join(doubled)}")
        outside = [i for i in self.novel if not 0 <= i < self.num_classes]
        if outside or len(set(self.novel)) < len(self.novel):
            highest, given = self.num_classes - 1, list(self.novel)
            raise ValueError(f"novel class ids must be distinct and in 0..{highest}, got {given}")
        if len(self.novel) == self.num_classes:
            raise ValueError("every class is novel: at least one base class with masks is needed")

    @property
    def num_classes(self) -> int:
        """Number of classes ``K``."""
        return len(self.names)

    @property
    def base(self) -> tuple[int, ...]:
        """Ids of the base classes, ascending."""
        return tuple(i for i in range(self.num_classes) if i not in set(self.novel))

    @property
    def novel_names(self) -> tuple[str, ...]:
        """Names of the novel classes, by id."""
        return tuple(self.names[i] for i in self.novel)

    def is_novel(self) -> Tensor:
        """Bool ``[K]``: True where the class is novel."""
        mask = torch.zeros(self.num_classes, dtype=torch.bool)
        mask[list(self.novel)] = True
        return mask


@dataclass(frozen=True)
class SampleRequest:
    """A training image to load: its index, and the seed of its augmentation (independent of worker and process)."""

    index: int
    seed: int


@dataclass(frozen=True)
class WeakSample:
    """One augmented training image as it leaves the dataset, undeclared pixels hidden (leak rule, method section 1).

    Attributes:
        image: uint8 ``[3, H, W]``, RGB 0..255, padding 128.
        label_map: uint8 ``[H, W]``, ids of the classes with the state ``MASK``, :data:`IGNORE` elsewhere.
        padding: bool ``[H, W]``, True where the image was padded.
        states: uint8 ``[K]``, the :class:`Knowledge` of each class.
        name: Shown in logs and errors.
    """

    image: Tensor
    label_map: Tensor
    padding: Tensor
    states: Tensor
    name: str


@dataclass(frozen=True)
class WeakTargets(Movable):
    """All that the criterion may know of a batch.

    Of an image b, each class k has one state. From it and the pixels follow four sets that share out the classes:
    :attr:`with_mask`, :attr:`tagged`, :attr:`absent` and :attr:`unknown`.

    A *target* is one class of one image. Slots of an image hold first the classes with a mask (ascending id), then the
    classes known by tag only (ascending id), then padding. Everything whose size depends on the data is made on the
    host by :meth:`collate`, so that the losses need no device synchronisation.

    Attributes:
        label_map: uint8 ``[B, H, W]``, ids of classes with masks, :data:`IGNORE` elsewhere.
        padding: bool ``[B, H, W]``.
        states: uint8 ``[B, K]``, the :class:`Knowledge` of each class.
        classes: int64 ``[B, N]``, class id per slot, -1 in padding slots.
        mask_index: int64 ``[2, M]``, (image, slot) of the targets with a mask.
        tag_slots: int64 ``[B, S]``, slots of the targets known by tag only, -1 = none.
        unknown_classes: int64 ``[B, U]``, the unknown classes of the images with mask classes, -1 = none.
        with_mask: bool ``[B, K]``, classes with pixels in the label map.
        novel: bool ``[K]``, True for novel classes.
        open_images: int64 ``[b]``, the images that have unknown classes.
        counts: targets of each image (without padding slots), on the host.
        paired: images 2i and 2i+1 are an anchor and its reference (method section 5); an odd last image is alone.
        pseudo_map: uint8 ``[B, h, w]``, classes that a teacher sees where the label map says nothing, at the size of
            the mask logits; :data:`IGNORE` where it is not sure. None: there is no teacher.
    """

    label_map: Tensor
    padding: Tensor
    states: Tensor
    classes: Tensor
    mask_index: Tensor
    tag_slots: Tensor
    unknown_classes: Tensor
    with_mask: Tensor
    novel: Tensor
    open_images: Tensor
    counts: tuple[int, ...]
    paired: bool = False
    pseudo_map: Tensor | None = None

    @classmethod
    def collate(
        cls, label_map: Tensor, padding: Tensor, states: Tensor, novel: Tensor, paired: bool = False
    ) -> WeakTargets:
        """Builds the target slots, on the host; the arguments are the attributes of that name."""
        seen = torch.zeros(len(states), IGNORE + 1, dtype=torch.bool).scatter(1, label_map.flatten(1).long(), True)
        with_mask = seen[:, : states.shape[1]]
        tagged = (states == Knowledge.PRESENT) & ~with_mask
        unknown = (states == Knowledge.UNKNOWN) & ~with_mask
        beside_masks = unknown & (states == Knowledge.MASK).any(1, keepdim=True)
        masks, weak = ([row.nonzero()[:, 0] for row in table] for table in (with_mask, tagged))
        classes = _pad([torch.cat(pair) for pair in zip(masks, weak, strict=True)])
        slot = torch.arange(classes.shape[1])
        return cls(
            label_map=label_map,
            padding=padding,
            states=states,
            classes=classes,
            mask_index=(slot < with_mask.sum(1, keepdim=True)).nonzero().T.contiguous(),
            tag_slots=_pad([len(m) + torch.arange(len(w)) for m, w in zip(masks, weak, strict=True)]),
            unknown_classes=_pad([row.nonzero()[:, 0] for row in beside_masks]),
            with_mask=with_mask,
            novel=novel,
            open_images=unknown.any(1).nonzero()[:, 0],
            counts=tuple((with_mask | tagged).sum(1).tolist()),
            paired=paired,
        )

    @property
    def tagged(self) -> Tensor:
        """Bool ``[B, K]``: classes known by tag only."""
        return (self.states == Knowledge.PRESENT) & ~self.with_mask

    @property
    def unknown(self) -> Tensor:
        """Bool ``[B, K]``: classes that may be in the image or not."""
        return (self.states == Knowledge.UNKNOWN) & ~self.with_mask

    @property
    def absent(self) -> Tensor:
        """Bool ``[B, K]``: classes without a pixel: known to be absent, or with masks of which none is in the crop."""
        return ((self.states == Knowledge.ABSENT) | self.annotated) & ~self.with_mask

    @property
    def annotated(self) -> Tensor:
        """Bool ``[B, K]``: classes whose pixels are all labelled; none in an image without a mask."""
        return self.states == Knowledge.MASK

    @property
    def unlabelled(self) -> Tensor:
        """Bool ``[B, K]``: classes that a pixel without a label can be of: tagged or unknown."""
        return self.tagged | self.unknown


def _pad(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


@dataclass(frozen=True)
class WeakBatch(Movable):
    """A training batch.

    Attributes:
        images: uint8 ``[B, 3, H, W]``.
        targets: what is known of them.
        names: ``B`` image names, for messages.
    """

    images: Tensor
    targets: WeakTargets
    names: tuple[str, ...]

    @classmethod
    def collate(cls, samples: Sequence[WeakSample], novel: Tensor, paired: bool = False) -> WeakBatch:
        """Stacks samples of one size."""
        names = ("image", "label_map", "padding", "states")
        images, maps, padding, states = (torch.stack([getattr(s, name) for s in samples]) for name in names)
        targets = WeakTargets.collate(maps, padding, states, novel, paired)
        return cls(images, targets, tuple(s.name for s in samples))


@dataclass(frozen=True)
class SegOutput(Movable):
    """Outputs of the network for a batch, of all decoder layers (the last layer is the prediction).

    Attributes:
        class_logits: float ``[L, B, Q, K+1]``, the last class is "no object".
        mask_logits: float ``[L, B, Q, h, w]`` at stride 4.
        pixel_embeddings: float ``[B, C, h, w]``.
        mask_embeddings: float ``[L, B, Q, C]``, whose product with the pixel embeddings ``mask_logits`` are. With them
            the gradients of a few masks need not pass through all of them. None: only the logits are known.
        presence_logits: float ``[B, K]``, of each class to be in the image at all; None: the network does not say.
        presence_gamma: exponent of that probability in the scores of a prediction; 0: it does not count.
    """

    class_logits: Tensor
    mask_logits: Tensor
    pixel_embeddings: Tensor
    mask_embeddings: Tensor | None = None
    presence_logits: Tensor | None = None
    presence_gamma: float = 0.0

    def masks_of(self, queries: Tensor) -> Tensor:
        """Mask logits ``[L, B, S, h, w]`` of some proposals of every layer and image (int64 ``[L, B, S]``)."""
        factors = self.mask_logits.flatten(3) if self.mask_embeddings is None else self.mask_embeddings
        chosen = factors.gather(2, queries[..., None].expand(-1, -1, -1, factors.shape[-1]))
        if self.mask_embeddings is not None:
            return mask_products(chosen, self.pixel_embeddings)
        return chosen.unflatten(3, self.mask_logits.shape[-2:])

    def masks_at(self, points: Tensor) -> Tensor:
        """Mask logits of the last layer at pixels: int64 ``[b, J]`` of the first b images -> float ``[b, J, Q]``."""
        images = len(points)
        if self.mask_embeddings is None:
            return take_points(self.mask_logits[-1, :images].flatten(2), points)
        pixels = take_points(self.pixel_embeddings[:images].flatten(2), points)  # [b, J, C]
        return pixels @ self.mask_embeddings[-1, :images].transpose(1, 2)

    def class_scores(self) -> Tensor:
        """How far each proposal of the last layer speaks for each class, for a prediction: float32 ``[B, Q, K]``.

        The probability that the proposal is of the class, times presence^gamma. All that predicts is made of these.
        """
        probabilities = self.class_logits[-1].float().softmax(-1)[..., :-1]
        if self.presence_logits is None or self.presence_gamma == 0:
            return probabilities
        gates = (F.logsigmoid(self.presence_logits.float()) * self.presence_gamma).exp()  # [B, K]
        return probabilities * gates[:, None]

    def last(self) -> SegOutput:
        """The last decoder layer alone (L = 1)."""
        embeddings = None if self.mask_embeddings is None else self.mask_embeddings[-1:]
        return replace(
            self, class_logits=self.class_logits[-1:], mask_logits=self.mask_logits[-1:], mask_embeddings=embeddings
        )

    def float(self) -> SegOutput:
        """The same in float32: losses and matching never run in half precision."""
        return self._map("float")


@dataclass(frozen=True)
class Assignment:
    """Which proposal answers for which target.

    Attributes:
        queries: int64 ``[L, B, N]``, the proposal of each target slot; arbitrary (but valid) in padding slots.
        by_class: proposal k answers for class k in every image, also when the class is absent.
    """

    queries: Tensor
    by_class: bool = False

    def last(self) -> Assignment:
        """The last decoder layer alone (L = 1)."""
        return Assignment(self.queries[-1:], self.by_class)
