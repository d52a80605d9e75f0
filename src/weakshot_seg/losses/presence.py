"""The loss of the presence head (ours, not in the paper)."""

import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.terms import LossTerm
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.ranges import NonNegative


class PresenceLoss(LossTerm):
    """Binary cross-entropy of the classes of an image: those with pixels or a tag are there, absent ones are not.

    Of a class that may be in the image or not, nothing is taught. ``weight``: see :class:`LossTerm`.
    """

    def __init__(self, weight: NonNegative = 1.0) -> None:
        super().__init__(weight, "last", {"cross_entropy": 1.0})

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over the classes, mean over the images.

        Raises:
            ConfigError: the network has no presence head.
        """
        logits = output.presence_logits  # [B, K]
        if logits is None:
            raise ConfigError("loss.terms.presence needs a network with a presence head: set model.presence_gamma=0.5")
        present, known = targets.with_mask | targets.tagged, ~targets.unknown
        total = F.binary_cross_entropy_with_logits(
            logits, present.to(logits.dtype), weight=known.to(logits.dtype), reduction="sum"
        )
        return {"cross_entropy": total / len(logits)}
