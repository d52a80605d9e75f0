"""Semantic inference: every pixel takes the class with the highest score (MaskFormer section 3.4; method section 6).

The scores of all classes at the size of a large image are gigabytes. :class:`Scores` therefore computes those of a few
classes when asked, from what is small: class scores of the proposals, and mask logits at stride 4.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.structures import SegOutput
from weakshot_seg.utils.padding import pad_batch

Size = tuple[int, int]
Classes = slice | list[int]
"""Some of the ``K`` classes."""
Network = Callable[[Tensor], SegOutput]
"""Images ``[B, 3, H, W]``, RGB 0..255 -> output, of which the last layer counts."""

SCORES_AT_ONCE = 2**27
"""Numbers in the largest tensor of scores (512 MB): few images need their classes in more than one part."""


class Scores(ABC):
    """The class scores of one image, computed when asked.

    Attributes:
        num_classes: ``K``.
        pixels: pixels of the largest score plane that :meth:`__call__` makes on its way.
        native: size at which scores are computed before they are resized once; None: there is no such size.
        stored: numbers that are kept in memory.
    """

    num_classes: int
    pixels: int
    native: Size | None = None
    stored: int = 0

    @abstractmethod
    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """Scores of the given classes, resized to ``size``: float32 ``[k, *size]``, at least 0."""

    def stripes(self, size: Size) -> Iterator[tuple[range, "Scores"]]:
        """The image, resized to ``size``, in stripes from top to bottom: their rows, and the scores of each alone."""
        yield range(size[0]), self


class Inference(Protocol):
    """A way of applying the network to an image: whole, in windows, several times.

    One image at a time: beside others a network pads and rounds otherwise, and no result may depend on them.
    """

    def __call__(self, network: Network, image: Tensor) -> Scores:
        """Scores of an image uint8 or float ``[3, h, w]``."""
        ...


class ProposalScores(Scores):
    """Scores from one output of the network: class scores ``[Q, K]`` of its proposals, mask logits ``[Q, h, w]``.

    Masks are upsampled to the size of the network's (padded) input and cropped to that of the image (content).
    """

    def __init__(self, class_scores: Tensor, mask_logits: Tensor, padded: Size, content: Size) -> None:
        self.class_scores, self._mask_logits = class_scores, mask_logits
        self._padded, self._content = padded, content
        self.num_classes = class_scores.shape[-1]
        self.pixels, self.native = content[0] * content[1], content
        self.stored = class_scores.numel() + mask_logits.numel()

    def __call__(self, classes: Classes, size: Size) -> Tensor:
        """See :class:`Scores`."""
        return resize(semantic_scores(self.class_scores[None], self._masks(), classes), size)[0]

    def mask_probabilities(self, query: int, size: Size) -> Tensor:
        """The mask of one proposal, resized to ``size``: float32 ``[*size]`` in 0..1."""
        return resize(self._masks(slice(query, query + 1)).sigmoid(), size)[0, 0]

    def _masks(self, queries: slice = slice(None)) -> Tensor:
        """Logits ``[1, q, *content]``."""
        logits = self._mask_logits[None, queries].float()
        masks = F.interpolate(logits, self._padded, mode="bilinear", align_corners=False)
        return masks[..., : self._content[0], : self._content[1]]


def semantic_scores(class_scores: Tensor, mask_logits: Tensor, classes: Classes = slice(None)) -> Tensor:
    """score_c(x) = sum_n class score_n[c] * sigmoid(mask logits)_n(x), over the K classes (not normalised).

    Class scores are those of :meth:`SegOutput.class_scores`: softmax(class logits), times presence^gamma.
    ``[B, Q, K]``, ``[B, Q, H, W]`` -> ``[B, k, H, W]`` of the chosen ``classes``.
    """
    return torch.einsum("bqk,bqhw->bkhw", class_scores[..., classes], mask_logits.sigmoid())


def scores_of(output: SegOutput, padded: Size, contents: Sequence[Size]) -> list[Scores]:
    """The scores of each image of an output (last layer).

    Args:
        padded: size of the images that the network got.
        contents: (height, width) of each without its padding at the bottom and right.
    """
    parts = zip(output.class_scores(), output.mask_logits[-1], contents, strict=True)
    return [ProposalScores(classes, masks, padded, content) for classes, masks, content in parts]


class WholeImage:
    """The network is applied to an image as a whole; implements :class:`Inference`."""

    def __call__(self, network: Network, image: Tensor) -> Scores:
        """See :class:`Inference`."""
        return apply(network, [image])[0]


def apply(network: Network, images: Sequence[Tensor]) -> list[Scores]:
    """The scores of images ``[3, h_i, w_i]`` that go through the network together."""
    batch = pad_batch(images)
    contents = [(image.shape[-2], image.shape[-1]) for image in images]
    return scores_of(network(batch), (batch.shape[-2], batch.shape[-1]), contents)


def best_class(scores: Scores, size: Size, candidates: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """The class of the highest score at every pixel (the first of equal ones), and that score.

    uint8 and float32 ``[*size]``; scores are resized to ``size``. ``candidates`` are the ids of the classes to choose
    from, at least one; None: all.
    """
    parts = ((rows, _best_class(stripe, (len(rows), size[1]), candidates)) for rows, stripe in scores.stripes(size))
    rows, found = next(parts)
    if len(rows) == size[0]:
        return found
    ids, best = (plane.new_empty(size) for plane in found)
    for place, part in chain([(rows, found)], parts):
        ids[place.start : place.stop], best[place.start : place.stop] = part
    return ids, best


@torch.no_grad()
def _best_class(scores: Scores, size: Size, candidates: Sequence[int] | None) -> tuple[Tensor, Tensor]:
    ids = contenders(scores, size) if candidates is None else list(candidates)
    chunk = max(1, SCORES_AT_ONCE // max(scores.pixels, size[0] * size[1]))
    step = max(1, SCORES_AT_ONCE // 8 // size[1])
    stripes = [slice(top, top + step) for top in range(0, size[0], step)]  # planes of a large photo are gigabytes
    winner, best = _highest(scores(ids[:chunk], size))
    winner = winner.contiguous()
    for start in range(chunk, len(ids), chunk):
        index, top = _highest(scores(ids[start : start + chunk], size))
        for rows in stripes:
            higher = top[rows] > best[rows]
            winner[rows] = torch.where(higher, index[rows] + start, winner[rows])
            best[rows] = torch.maximum(best[rows], top[rows])
        del index, top  # before the next ones are made
    table = torch.tensor(ids, dtype=torch.uint8, device=winner.device)
    for rows in stripes:
        winner[rows] = table.take(winner[rows].long())
    return winner, best


def _highest(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Which of up to 255 planes ``[k, h, w]`` is the highest (the first of equals), uint8 ``[h, w]``, and its value.

    As ``planes.max(0)``, which takes three times as long on a CPU.
    """
    if len(planes) == 1:
        return planes.new_zeros((), dtype=torch.uint8).expand(planes.shape[1:]), planes[0]
    best, count = planes.amax(0), len(planes)
    ranks = torch.arange(count, 0, -1, dtype=torch.uint8, device=planes.device)[:, None, None]
    return (count - ((planes == best) * ranks).amax(0)).clamp(max=count - 1), best  # NaN equals nothing


def contenders(scores: Scores, size: Size) -> list[int]:
    """The classes that can have the highest score somewhere, by their scores at the native size.

    Bilinear resizing makes every score a mean of those of up to four neighbours. Where a class is below the lowest that
    another has among the four, it cannot win between them. Large images thus need the scores of few classes only; ids
    ascend.
    """
    ids = list(range(scores.num_classes))
    if scores.native is None or size[0] * size[1] < 4 * scores.pixels:
        return ids  # to look for them would take as long as it saves
    chunk = max(1, SCORES_AT_ONCE // scores.pixels)
    parts = [ids[start : start + chunk] for start in range(0, len(ids), chunk)]
    planes = scores(parts[0], scores.native)
    floor = _lowest(planes).amax(0)
    for part in parts[1:]:
        floor = torch.maximum(floor, _lowest(scores(part, scores.native)).amax(0))
    found: list[int] = []
    for part in parts:
        if len(parts) > 1:
            planes = scores(part, scores.native)
        # a little above: resizing rounds
        reached = (-_lowest(-planes) * (1 + 1e-5) >= floor).flatten(1).any(1)
        found += [class_id for class_id, kept in zip(part, reached.tolist(), strict=True) if kept]
    return found


def _lowest(planes: Tensor) -> Tensor:
    """The lowest of every 2x2 neighbours: ``[k, h, w]`` -> ``[k, max(h - 1, 1), max(w - 1, 1)]``."""
    for axis in (1, 2):
        if planes.shape[axis] > 1:
            shorter = planes.shape[axis] - 1
            planes = torch.minimum(planes.narrow(axis, 0, shorter), planes.narrow(axis, 1, shorter))
    return planes


def resize(planes: Tensor, size: Size) -> Tensor:
    """``[B, k, h, w]`` -> ``[B, k, *size]``, bilinearly."""
    if planes.shape[-2:] == size:
        return planes
    return F.interpolate(planes, size, mode="bilinear", align_corners=False)
