"""Pixel similarity, learned on base pixels and distilled into novel ones (SimFormer; method section 4.4)."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from weakshot_seg.losses.terms import LossTerm, mean_over_ranks
from weakshot_seg.structures import IGNORE, Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.embeddings import take_points
from weakshot_seg.utils.ranges import Count, NonNegative, Share


class PixelSimilarityLoss(LossTerm):
    """SimLoss trains SimNet on cross-image pixel pairs of base classes; DistLoss distils it into novel pixels.

    Args:
        simnet: pair network, see :class:`weakshot_seg.models.simnet.SimNet`.
        weight: of the term.
        base_weight: weight of SimLoss.
        novel_weight: weight of DistLoss (0.1 COCO-Stuff-10K, 0.5 ADE20K).
        num_points: pixels ``J`` sampled per image.
        inside_share: share of the SimLoss pixels drawn from the chosen base class.
        distillation: ``ce``, ``cce`` (centred) or ``b0.5``.
        student_pairs: ``cross`` = the teacher's cross-image pairs; ``within`` = pairs of one image, as the authors.
        history: steps over which positives and negatives are counted for the class balance.
    """

    def __init__(
        self,
        simnet: nn.Module,
        weight: NonNegative = 1.0,
        base_weight: NonNegative = 1.0,
        novel_weight: NonNegative = 0.1,
        num_points: Count = 100,
        inside_share: Share = 0.8,
        distillation: Literal["ce", "cce", "b0.5"] = "cce",
        student_pairs: Literal["cross", "within"] = "cross",
        history: Annotated[int, Ge(1), Le(10**6)] = 25,
    ) -> None:
        super().__init__(weight, "last", {"base": base_weight, "novel": novel_weight})
        self.simnet = simnet
        self.balance = BalanceWeights(history)
        self.num_points, self.inside_share = num_points, inside_share
        self.distillation, self.student_pairs = distillation, student_pairs
        self._judged: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """SimLoss and DistLoss over all pairs of images. SimNet always runs, so that DDP ranks stay in step.

        DistLoss leaves out images whose unlabelled pixels may be of a base class, as they may without a mask.
        """
        self._judged = None
        images = len(targets.label_map) // 2 * 2 if targets.paired else 0
        if images == 0:
            zero = sum(p.sum() * 0 for p in self.simnet.parameters()) + output.mask_logits.sum() * 0
            return {"base": zero, "novel": zero}
        size = list(output.mask_logits.shape[-2:])
        labels = _shrink(targets.label_map[:images], size)  # [B, hw]
        padding = _shrink(targets.padding[:images], size).bool()
        embeddings = output.pixel_embeddings[:images].flatten(2).detach()  # [B, C, hw]
        unlabelled = targets.unlabelled[:images]
        only_novel = ~(unlabelled & ~targets.novel).any(1)
        only_novel = only_novel & swap(only_novel)
        tagged = targets.tagged[:images] & targets.novel & only_novel[:, None]
        shared = (tagged & swap(tagged)).any(1).float()  # the pair has a novel class in common
        return {
            "base": self._base(embeddings, labels, padding, targets, only_novel),
            "novel": self._novel(output, embeddings, (labels == IGNORE) & ~padding, padding, shared, targets.novel),
        }

    def diagnostics(self) -> dict[str, Tensor]:
        """Quality of SimNet on the counted base pairs of the latest call: ``pairs/precision_similar``, ..."""
        if self._judged is None:
            return {}
        return {f"pairs/{name}": value for name, value in pair_quality(*self._judged).items()}

    def _base(
        self, embeddings: Tensor, labels: Tensor, padding: Tensor, targets: WeakTargets, only_novel: Tensor
    ) -> Tensor:
        """SimLoss. A pair counts if its equality is known: both pixels have labels, or the one without cannot be equal.

        In the paper that is if at least one pixel is base, since no unlabelled pixel is. Pairs without any label count
        as similar in the balance where all unlabelled pixels are novel or ignored, as the authors' do.
        """
        with_mask, unlabelled = targets.with_mask[: len(labels)], targets.unlabelled[: len(labels)]
        common = choose_class((with_mask & swap(with_mask))[::2]).repeat_interleave(2)[:, None]  # [B, 1]
        inside = torch.where(common >= 0, labels == common, labels != IGNORE)
        count_inside = round(self.num_points * self.inside_share)
        some = sample_points(inside, count_inside, padding)
        rest = sample_points(~inside & ~padding, self.num_points - count_inside, padding)
        points = torch.cat([some, rest], dim=1)
        features = take_points(embeddings, points)  # [B, J, C]
        point_labels = labels.gather(1, points)
        is_base = point_labels != IGNORE
        same = point_labels[:, :, None] == swap(point_labels)[:, None]  # [B, J, J]
        by_label = F.pad(unlabelled, (0, IGNORE + 1 - unlabelled.shape[1]))  # [B, 256]
        sure = is_base & ~swap(by_label).gather(1, point_labels)  # no unlabelled pixel of the partner is of that class
        counted = sure[:, :, None] | swap(sure)[:, None] | (is_base[:, :, None] & swap(is_base)[:, None])
        known = counted | only_novel[:, None, None]
        logits = self.simnet(features, swap(features))
        self._judged = logits.detach(), same, counted
        return pair_loss(logits, same, counted, self.balance(same, known))

    def _novel(
        self, output: SegOutput, embeddings: Tensor, region: Tensor, padding: Tensor, shared: Tensor, novel: Tensor
    ) -> Tensor:
        """DistLoss, over the image pairs that share a novel class."""
        points = sample_points(region, self.num_points, padding)
        features = take_points(embeddings, points)
        with torch.no_grad():
            teacher = self.simnet(features, swap(features)).softmax(-1)[..., 1]  # [B, J, J]
        masks = output.masks_at(points).sigmoid()  # [B, J, Q]
        classes = output.class_logits[-1, : len(points)].softmax(-1)[..., :-1] * novel  # [B, Q, K], zero for base
        scores = masks @ classes  # [B, J, K]
        student = cosine(scores, scores if self.student_pairs == "within" else swap(scores)).relu()
        per_image = DISTILLATION[self.distillation](teacher, student).mean((1, 2))
        return (per_image * shared).sum() / mean_over_ranks(shared.sum()).clamp(min=1)


class BalanceWeights(nn.Module):
    """Class-balancing weights from a running count of similar and dissimilar pairs over the last steps."""

    counts: Tensor

    def __init__(self, history: int = 25) -> None:
        super().__init__()
        counts = torch.zeros(history, 2)
        counts[-1] = 1.0  # before the first step: one pair of each kind
        self.register_buffer("counts", counts)

    @torch.no_grad()
    def forward(self, same: Tensor, known: Tensor | None = None) -> Tensor:
        """Float ``[2]``: weights of (dissimilar, similar) = share of the other kind among the known pairs (None: all).

        ``same`` and ``known`` are bool, of one shape.
        """
        kinds = torch.stack([~same, same])
        counted = kinds if known is None else kinds & known
        step = mean_over_ranks(counted.flatten(1).sum(1).float())
        self.counts.copy_(torch.cat([self.counts[1:], step[None]]))
        total = self.counts.sum(0)
        return total.flip(0) / total.sum().clamp(min=1e-5)  # 0 if no pair was known for all that time


def pair_loss(logits: Tensor, same: Tensor, counted: Tensor, weights: Tensor) -> Tensor:
    """Balanced binary cross-entropy, mean over the counted pairs.

    Logits ``[..., 2]`` are for (different, same), ``same`` and ``counted`` bool ``[...]``, ``weights`` ``[2]`` those of
    (dissimilar, similar) pairs.
    """
    negative_log = -logits.log_softmax(-1)
    loss = torch.where(same, weights[1] * negative_log[..., 1], weights[0] * negative_log[..., 0])
    return (loss * counted).sum() / mean_over_ranks(counted.sum().float()).clamp(min=1e-5)


def swap(values: Tensor) -> Tensor:
    """``[B, ...]`` of each image's partner: images 2i and 2i+1 change places."""
    return values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of all pairs: ``[B, P, K]``, ``[B, R, K]`` -> ``[B, P, R]``."""
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).transpose(1, 2)


def distill_ce(teacher: Tensor, student: Tensor) -> Tensor:
    """Cross-entropy of teacher and student similarity, both clamped to [0.01, 0.99]."""
    teacher, student = teacher.clamp(0.01, 0.99), student.clamp(0.01, 0.99)
    return -teacher * student.log() - (1 - teacher) * (1 - student).log()


def distill_cce(teacher: Tensor, student: Tensor) -> Tensor:
    """Centred cross-entropy: only the side of 0.5 on which the teacher stands pulls; at most 0."""
    return -(teacher - 0.5).relu() * student.log1p() - (0.5 - teacher).relu() * (2 - student).log()


def distill_linear(teacher: Tensor, student: Tensor) -> Tensor:
    """-(teacher - 0.5) * student."""
    return (0.5 - teacher) * student


DISTILLATION = {"ce": distill_ce, "cce": distill_cce, "b0.5": distill_linear}


def sample_points(region: Tensor, count: int, padding: Tensor) -> Tensor:
    """Draws pixels of each image's region; when it has fewer than ``count``, the rest come from elsewhere.

    Args:
        region: bool ``[B, P]`` over flattened pixels.
        count: pixels per image, at most P.
        padding: bool ``[B, P]``, pixels that are taken only when there are no others.

    Returns:
        int64 ``[B, count]`` pixel indices, distinct within an image.
    """
    noise = torch.rand(region.shape, device=region.device)
    return (region.float() - padding.float() + 0.1 * noise).topk(min(count, region.shape[1]), dim=1).indices


def choose_class(candidates: Tensor) -> Tensor:
    """One of the candidates of each row, uniformly: bool ``[B, K]`` -> int64 ``[B]``, -1 where there is none."""
    noise = torch.rand(candidates.shape, device=candidates.device)
    choice = (candidates + 0.5 * noise).argmax(1)
    return torch.where(candidates.any(1), choice, -1)


@torch.no_grad()
def pair_quality(logits: Tensor, same: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """Accuracy, and precision, recall and F1 of either kind of pairs; arguments as of :func:`pair_loss`.

    Scalars 0..1 ``accuracy``, ``precision_similar``, ..., ``f1_dissimilar``, NaN where it is 0 / 0. Does not wait for
    the device.
    """
    decided = logits[..., 1] > logits[..., 0]
    hits, positives = decided & same, torch.stack([decided, same])
    quality = {"accuracy": ((decided == same) & counted).sum() / counted.sum()}
    for kind, hit, both in (("similar", hits, positives), ("dissimilar", ~(decided | same), ~positives)):
        hit = (hit & counted).sum()
        predicted, true = (both & counted).flatten(1).sum(1)
        quality[f"precision_{kind}"] = hit / predicted
        quality[f"recall_{kind}"] = hit / true
        quality[f"f1_{kind}"] = 2 * hit / (predicted + true)
    return quality


def _shrink(maps: Tensor, size: list[int]) -> Tensor:
    """Nearest-downsampled ``[B, H, W]`` -> int64 ``[B, hw]``."""
    return F.interpolate(maps[:, None].float(), size, mode="nearest").flatten(1).long()
