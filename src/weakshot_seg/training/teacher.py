"""An online teacher: where the classes are that an image leaves open (ours, not the paper's).

Complement and distillation say where a tagged class is only in images that also have masks. But masks are
class-agnostic: in an image with tags alone an object of a novel class is found, too, and gets the name of the base
class that it resembles most. The teacher, the average of the network's weights over the last steps (mean teacher,
arXiv 1703.01780), labels the pixels of such images. It keeps the regions of the base classes that it finds there no
more often than the masks do elsewhere, such as the background; what else it finds is what the tag names, unless it
looks to the backbone as another class does.
"""

from copy import deepcopy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.losses.terms import mean_over_ranks
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import IGNORE, Knowledge, WeakTargets
from weakshot_seg.training.discriminant import Discriminant
from weakshot_seg.training.running import MEMORY, accumulate
from weakshot_seg.utils.ranges import BelowOne, NonNegative, Share

VISIBLE = 0.01
"""Share of the pixels from which on a class counts as seen, and what is added to rates before they are compared."""
RATE = 0.5
"""How fast the thresholds follow, in log scores per share of pixels."""
SMALL = 1e-4
"""Added to scores before their logarithm is taken."""
TINY = 1e-3
"""Keeps counts from 0."""
SURE = 0.5
"""Score of a base class from which on it labels pixels of an image without tags."""


class OnlineTeacher(nn.Module):
    """Labels the pixels of images that have unknown classes.

    Args:
        decay: share of the former weights in the average after every step.
        start: share of the training after which it labels; it looks on from half of that.
        keep: a base class keeps its region in images with a tag if at least this share of those that seem to show it
            can be true, judged by how often masks show it.
        common: and if at least this share of the images with masks show it; a rare class is more likely mistaken.
        margin: difference of log scores below which a pixel is left without a label.
        least: share of the pixels of an image that its tagged classes cover at least.
    """

    average: SimFormer
    shown: Tensor  # [2, K] images whose masks show a class, and images with masks of it
    found: Tensor  # [K, K] images tagged n in which class c is found
    tagged: Tensor  # [K] images tagged n
    rest: Tensor  # [2, K] pixels of classes that lose their region beside tag n, where there are any, and such images
    threshold: Tensor  # [K] log score ratio of kept and other classes, below which a pixel is of tag n

    def __init__(
        self,
        decay: BelowOne = 0.99,
        start: Share = 0.25,
        keep: Share = 0.7,
        common: Share = 0.15,
        margin: NonNegative = 0.5,
        least: Share = 0.05,
    ) -> None:
        super().__init__()
        self.decay, self.start = decay, start
        self.keep, self.common, self.margin, self.least = keep, common, margin, least

    def attach(self, network: SimFormer, num_classes: int) -> None:
        """Takes a copy of the network as the first average."""
        self.average = deepcopy(network).requires_grad_(False).eval()
        for name, rows in (("shown", 2), ("found", num_classes), ("rest", 2)):
            self.register_buffer(name, torch.zeros(rows, num_classes))
        for name in ("tagged", "threshold"):
            self.register_buffer(name, torch.zeros(num_classes))
        self.looks = Discriminant(sum(network.backbone.channels[-2:]), num_classes)

    def train(self, mode: bool = True) -> "OnlineTeacher":
        """The average is never in training mode."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Moves the average towards the network after ``step`` steps; in the first ones faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, new in zip(self.average.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - decay)
            else:
                mine.copy_(new)

    @torch.no_grad()
    def forward(self, images: Tensor, targets: WeakTargets, progress: float) -> WeakTargets:
        """The targets with a ``pseudo_map``, and with what looked like a base class and is none as absent.

        Images are RGB 0..255 ``[B, 3, H, W]``, ``progress`` is the share of the training that is done. As they were if
        there are no labels yet, or no image has unknown classes.
        """
        self._watch_masks(targets)
        if progress < self.start / 2:
            return targets
        features = self.average.encode(images)
        with torch.autocast(images.device.type, enabled=False):
            pixels = self.looks.pixels(features[-2:])
            self.looks.learn(pixels, targets.label_map)
        chosen = targets.open_images  # [b]
        tags, unknown = targets.tagged[chosen], targets.unknown[chosen]
        if not len(chosen):
            nowhere = tags.new_zeros(0, 1, 1)
            self._watch_tags(tags, tags, nowhere)
            self._look(pixels[chosen], tags, unknown, nowhere, progress)  # other ranks wait for its sums
            return targets
        output = self.average.decode([feature[chosen] for feature in features], last_only=True)
        probabilities = output.class_logits[-1].softmax(-1)[..., :-1]
        scores = torch.einsum("bqk,bqhw->bkhw", probabilities, output.mask_logits[-1].sigmoid()) + SMALL
        closed = targets.padding[chosen] | (targets.label_map[chosen] != IGNORE)
        closed = F.interpolate(closed[:, None].float(), list(scores.shape[-2:]), mode="nearest")[:, 0] > 0
        labels, where, mistaken = self._label(scores, tags, unknown, closed)
        looks = self._look(pixels[chosen], tags, unknown, where, progress)
        if looks is None:
            return targets
        other = where & ~tags.gather(1, looks.flatten(1)).view_as(where)
        labels = labels.masked_fill(other, IGNORE)
        seen = F.one_hot(looks, tags.shape[1]).float().mul(other[..., None]).mean((1, 2)) > VISIBLE  # [b, K]
        mistaken = mistaken & ~seen
        whole = torch.full((len(images), *labels.shape[1:]), IGNORE, dtype=torch.uint8, device=images.device)
        states = targets.states[chosen].masked_fill(mistaken, Knowledge.ABSENT)
        return replace(
            targets,
            pseudo_map=whole.index_copy(0, chosen, labels),
            states=targets.states.index_copy(0, chosen, states),
        )

    def _look(self, pixels: Tensor, tags: Tensor, unknown: Tensor, where: Tensor, progress: float) -> Tensor | None:
        """What pixels look like, int64 ``[b, h, w]``; None before it labels, when all ``where`` counts as the tag."""
        with torch.autocast(pixels.device.type, enabled=False):
            if progress >= self.start:
                return self.looks.explain(pixels, tags, unknown, where)
            self.looks.assume(pixels, tags, where)
            return None

    def _label(self, scores: Tensor, tags: Tensor, unknown: Tensor, closed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map uint8 ``[b, h, w]``, where the tags may be, bool, and the classes taken for another, bool ``[b, K]``.

        Of scores ``[b, K, h, w]``, bool ``[b, K]`` twice, and ``[b, h, w]``.
        """
        lost = tags.float() @ (~self._kept()).float() > 0  # [b, K]
        kept, base = _best(scores, unknown & ~lost)  # [b, h, w]
        other, _ = _best(scores, ~unknown | lost)
        _, novel = _best(scores, tags)
        ratio = (kept.log() - other.log()).masked_fill(closed, torch.inf)
        threshold = ((tags.float() @ self.threshold) / tags.sum(1).clamp(min=1))[:, None, None]
        least = ratio <= ratio.flatten(1).quantile(self.least, dim=1)[:, None, None]
        below, some = ratio <= threshold, tags.any(1)[:, None, None]
        sure = torch.where(
            some, least | ((ratio - threshold).abs() > self.margin), (ratio > self.margin) & (kept > SURE)
        )
        _, taken = _best(scores, unknown)
        areas = F.one_hot(taken, scores.shape[1]).float().mul(~closed[..., None]).mean((1, 2))  # [b, K]
        found = areas > VISIBLE
        self._watch_tags(tags, found, below)
        where = some & (below | least) & ~closed
        labels = torch.where(where, novel, base).masked_fill(closed | ~sure, IGNORE).to(torch.uint8)
        return labels, where, unknown & lost & found

    def _kept(self) -> Tensor:
        """Bool ``[K, K]``: classes (columns) that keep their regions in images tagged n (rows)."""
        here = self.found / self.tagged.clamp(min=TINY)[:, None]
        elsewhere = self.shown[0] / self.shown[1].clamp(min=TINY)
        return (elsewhere + VISIBLE >= self.keep * (here + VISIBLE)) & (elsewhere > self.common)

    def _watch_masks(self, targets: WeakTargets) -> None:
        """Counts how often masks show each class, and how much of an image the classes cover that lose their region."""
        inside = (~targets.padding).flatten(1).float()
        pixels = inside.new_zeros(len(inside), IGNORE + 1).scatter_add(1, targets.label_map.flatten(1).long(), inside)
        areas = pixels[:, : targets.states.shape[1]] / inside.sum(1, keepdim=True).clamp(min=1)  # [B, K]
        annotated = targets.annotated
        accumulate(self.shown, torch.stack([((areas > VISIBLE) & annotated).sum(0), annotated.sum(0)]))
        kept = self._kept().float()
        counted = (targets.with_mask.float() @ (1 - kept).T > 0) & (annotated.any(1) & ~targets.unknown.any(1))[:, None]
        rest = (1 - areas @ kept.T) * counted  # [B, K]
        accumulate(self.rest, torch.stack([rest.sum(0), counted.sum(0)]))

    def _watch_tags(self, tags: Tensor, found: Tensor, below: Tensor) -> None:
        """Counts which classes seem to be in images with tags, and moves the thresholds.

        As many pixels shall be below them as are of other classes than the kept ones in images with masks.
        """
        tags = tags.float()
        accumulate(self.found, tags.T @ found.float())
        count = mean_over_ranks(tags.sum(0))
        self.tagged.mul_(MEMORY).add_(count)
        share = mean_over_ranks(tags.T @ below.float().mean((1, 2))) / count.clamp(min=TINY)
        expected = self.rest[0] / self.rest[1].clamp(min=TINY)
        self.threshold.add_(torch.where((count > 0) & (self.rest[1] > 0), RATE * (expected - share), 0.0))


def _best(scores: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Highest score of the allowed classes at every pixel, and which: ``[b, K, h, w]``, ``[b, K]`` -> ``[b, h, w]``."""
    return scores.masked_fill(~allowed[:, :, None, None], SMALL).max(1)
