"""What was predicted for one image."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.errors import ConfigError
from weakshot_seg.inference.semantic import ProposalScores, Scores
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.notebook import html_image, html_table, png
from weakshot_seg.utils.visualize import labelled_overlay

Floats = NDArray[np.float32]
COUNTED_AT_ONCE = 2**24
"""Pixels."""


@dataclass(frozen=True)
class ClassArea:
    """A class, its ``share`` 0..1 of the image, and its mean score ``confidence`` there (those above 1 count as 1)."""

    class_id: int
    name: str
    novel: bool
    pixels: int
    share: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Proposal:
    """One of the network's proposals: its number ``query``, and its most probable class with ``probability`` 0..1.

    With a presence head, it is the probability times presence^gamma.

    ``mask`` float32 ``[h, w]`` is the probability of each pixel to belong to it.
    """

    query: int
    class_id: int
    name: str
    novel: bool
    probability: float
    mask: Floats


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The prediction for one image, at its own size ``h w``.

    Attributes:
        image: uint8 ``[h, w, 3]``, RGB, turned upright.
        labels: uint8 ``[h, w]``, class id 0..K-1 of every pixel.
        confidence: float32 ``[h, w]``, score of that class: the sum over proposals of class times mask probability
            (method section 6), times presence^gamma with a presence head; at least 0 and seldom above 1.
        split: Names of the ``K`` classes, and which are novel.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    confidence: Floats
    split: ClassSplit
    raw_scores: Scores

    @cached_property
    def classes(self) -> tuple[ClassArea, ...]:
        """The classes in the label map, the largest first."""
        count = len(self.split.names)
        pixels, sums = np.zeros(count, np.int64), np.zeros(count)
        step = max(1, COUNTED_AT_ONCE // self.labels.shape[1])  # counting takes 24 bytes a pixel
        for top in range(0, len(self.labels), step):
            labels, confidence = self.labels[top : top + step].ravel(), self.confidence[top : top + step].ravel()
            pixels += np.bincount(labels, minlength=count)
            sums += np.bincount(labels, confidence.clip(0, 1), minlength=count)
        return tuple(
            ClassArea(
                i, *self._meaning(i), int(pixels[i]), float(pixels[i] / self.labels.size), float(sums[i] / pixels[i])
            )
            for i in np.argsort(-pixels, kind="stable").tolist()
            if pixels[i] > 0
        )

    @torch.inference_mode()
    def scores(self, class_name: str) -> Floats:
        """Scores of one class (else a ConfigError), float32 ``[h, w]``; those of all classes seldom fit into memory."""
        if class_name not in self.split.names:
            raise ConfigError(f"no class {class_name!r}; the model knows {', '.join(self.split.names)}")
        index = self.split.names.index(class_name)
        return self.raw_scores(slice(index, index + 1), self.labels.shape)[0].float().cpu().numpy()

    @torch.inference_mode()
    def proposals(self, most: int = 10) -> list[Proposal]:
        """The best proposals, by the probability of their class; a ConfigError after windows or augmentation."""
        if not isinstance(self.raw_scores, ProposalScores):
            raise ConfigError("proposals are those of one pass over the image: predict it with inference=whole")
        probabilities, ids = self.raw_scores.class_scores.max(1)
        found = []
        for query in probabilities.argsort(descending=True)[:most].tolist():
            class_id, probability = int(ids[query]), float(probabilities[query])
            mask = self.raw_scores.mask_probabilities(query, self.labels.shape).float().cpu().numpy()
            found.append(Proposal(query, class_id, *self._meaning(class_id), probability, mask))
        return found

    def overlay(self, largest: int = 1024, listed: Collection[int] | None = None) -> Image.Image:
        """The image under its label colours, its longer edge at most ``largest`` pixels, with a legend below.

        The legend has the classes ``listed`` (ids); None: those in the label map.
        """
        return labelled_overlay(self.image, self.labels, self.split, largest, listed)

    def _repr_png_(self) -> bytes:
        return png(self.overlay())

    def _repr_html_(self) -> str:
        rows = [("class", "kind", "share %", "confidence")]
        for area in self.classes:
            share, confidence = f"{100 * area.share:.1f}", f"{area.confidence:.2f}"
            rows.append((area.name, "novel" if area.novel else "base", share, confidence))
        return html_image(self.overlay()) + html_table(rows, "<<>>")

    def _meaning(self, class_id: int) -> tuple[str, bool]:
        return self.split.names[class_id], class_id in self.split.novel
