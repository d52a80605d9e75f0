"""Assignment of proposals to the classes of an image (method section 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.functional import at_once, pairwise_mask_cost
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.compiling import Compilable
from weakshot_seg.utils.ranges import NonNegative

try:
    from torch_linear_assignment import batch_linear_assignment  # extra "gpu"
except ImportError:
    batch_linear_assignment = None

WORST = 1e6
"""Cost that stands for NaN and infinity: the solvers take neither. (The step will be skipped, see ``StepGuard``.)"""


class HungarianMatcher(nn.Module):
    """cost = -p(class) + [class has a mask] * (20 focal + 1 dice), per image and decoder layer.

    Base and novel classes are matched together; novel ones by the class term only. A base class whose mask vanishes at
    the logits' resolution counts as having no mask there. The arguments are the three weights.
    """

    def __init__(
        self, class_weight: NonNegative = 1.0, focal_weight: NonNegative = 20.0, dice_weight: NonNegative = 1.0
    ) -> None:
        super().__init__()
        self.class_weight, self.focal_weight, self.dice_weight = class_weight, focal_weight, dice_weight
        self.pairwise_mask_cost = Compilable(pairwise_mask_cost)

    @torch.no_grad()
    def forward(self, output: SegOutput, targets: WeakTargets) -> Assignment:
        """Assigns a proposal to every target.

        Raises:
            ConfigError: an image has more targets than there are queries.
        """
        queries, most = output.class_logits.shape[2], max(targets.counts, default=0)
        if most > queries:
            raise ConfigError(
                f"an image has {most} classes, the model only {queries} queries; set model.num_queries={most} or more"
            )
        cost = self.cost(output, targets).nan_to_num(WORST, WORST, -WORST)
        return Assignment(self.solve(cost, targets.counts))

    def solve(self, cost: Tensor, counts: Sequence[int]) -> Tensor:
        """Best proposals int64 ``[L, B, N]`` for finite costs ``[L, B, Q, N]`` with ``counts[b]`` real slots."""
        host = cost.cpu()  # the one copy to the host of a training step
        assigned = torch.zeros(cost.shape[0], cost.shape[1], cost.shape[3], dtype=torch.int64)
        for layer, layer_cost in enumerate(host.numpy()):
            for image, count in enumerate(counts):
                rows, columns = linear_sum_assignment(layer_cost[image, :, :count])
                assigned[layer, image, torch.from_numpy(columns)] = torch.from_numpy(rows)
        return assigned.to(cost.device, non_blocking=True)

    def cost(self, output: SegOutput, targets: WeakTargets) -> Tensor:
        """Cost ``[L, B, Q, N]`` of every proposal for every target slot; arbitrary in padding slots."""
        layers, _, queries, height, width = output.mask_logits.shape
        proposals = output.mask_logits.transpose(0, 1).flatten(3).flatten(1, 2)  # [B, LQ, hw]
        classes = targets.classes.clamp(min=0)  # [B, N]
        probability = output.class_logits.softmax(-1)
        index = classes[None, :, None].expand(layers, -1, queries, -1)
        cost = -self.class_weight * probability.gather(-1, index)  # [L, B, Q, N]
        # nearest-downsampled masks [B, hw, N], empty for tags and padding slots
        small = F.interpolate(targets.label_map[:, None].float(), (height, width), mode="nearest")
        masks = (small.flatten(2).transpose(1, 2) == targets.classes[:, None]).float()
        mask_cost = self._mask_cost(proposals, masks).unflatten(1, (layers, queries)).transpose(0, 1)
        has_mask = masks.any(dim=1)[:, None]  # [B, 1, N]
        return cost + mask_cost * has_mask

    def _mask_cost(self, logits: Tensor, masks: Tensor) -> Tensor:
        """``[B, LQ, hw]`` and ``[B, hw, N]`` -> ``[B, LQ, N]``, as many proposals at a time as are good for speed."""
        proposals = max(1, at_once(logits.device) // (logits.shape[0] * logits.shape[2]))
        parts = logits.split(proposals, dim=1)
        weights = self.focal_weight, self.dice_weight
        return torch.cat([self.pairwise_mask_cost(part, masks, *weights) for part in parts], 1)


class GpuHungarianMatcher(HungarianMatcher):
    """All layers and images in one launch, without a copy to the host; on a CPU the library solves them by scipy.

    Raises:
        ConfigError: the extra ``gpu`` is not installed.
    """

    def __init__(
        self, class_weight: NonNegative = 1.0, focal_weight: NonNegative = 20.0, dice_weight: NonNegative = 1.0
    ) -> None:
        super().__init__(class_weight, focal_weight, dice_weight)
        if batch_linear_assignment is None:
            raise ConfigError(
                "loss/assignment=hungarian_gpu needs torch-linear-assignment: pip install 'weakshot-seg[gpu]', or use "
                "loss/assignment=hungarian"
            )

    def solve(self, cost: Tensor, counts: Sequence[int]) -> Tensor:
        """See :class:`HungarianMatcher`. Padding slots cost the same everywhere, so they take what is left over."""
        real = torch.tensor(counts).to(cost.device, non_blocking=True)[:, None, None]
        slot = torch.arange(cost.shape[3], device=cost.device)
        padded = torch.where(slot < real, cost, 0.0).flatten(0, 1).transpose(1, 2)  # [LB, N, Q]
        return batch_linear_assignment(padded.contiguous()).unflatten(0, cost.shape[:2])


class ClassQueries(nn.Module):
    """Query k answers for class k whenever it is in the image: no solver, no copy to the host.

    Ours, not the paper's: it converges far faster on small budgets.
    """

    @torch.no_grad()
    def forward(self, output: SegOutput, targets: WeakTargets) -> Assignment:
        """Assigns query k to class k.

        Raises:
            ConfigError: there are not exactly K queries.
        """
        layers, _, queries, logits = output.class_logits.shape
        if queries != logits - 1:
            raise ConfigError(
                f"class queries need one query per class: model.num_queries must be null or {logits - 1}, not {queries}"
            )
        return Assignment(targets.classes.clamp(min=0).expand(layers, -1, -1), by_class=True)
