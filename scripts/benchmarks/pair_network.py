"""The similarity term without its factorisation, as the yardstick for the one that has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.models.simnet import SimBlock, SimNet
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets


class ConcatenatedSimNet(SimNet):
    """SimNet as the paper writes it: every layer, the first one too, on the concatenated embeddings of all pairs."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """``[B, P, C]``, ``[B, R, C]`` -> logits ``[B, P, R, 2]``, the same numbers as SimNet's."""
        left = first[:, :, None].expand(-1, -1, second.shape[1], -1)
        right = second[:, None].expand(-1, first.shape[1], -1, -1)
        x = torch.cat([left, right], dim=-1).flatten(0, 2)
        for block in self.blocks:
            x = self._block(block, x)
        return self.head(x).view(*left.shape[:3], 2)

    def _block(self, block: SimBlock, x: Tensor) -> Tensor:
        hidden = F.relu(_norm(block.norm1, block.linear1(x)))
        hidden = F.relu(_norm(block.norm2, block.linear2(hidden)))
        return hidden + (x if block.skip is None else F.relu(block.skip(x)))


def _norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """BatchNorm of ``[n, C]``."""
    momentum = norm.momentum or 0.0
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, momentum)


class SimilarityRun:
    """Forward and backward pass of the similarity term alone on fixed outputs.

    Args:
        simnet: the pair network.
        output: outputs of the network on the device.
        targets: weak targets of paired images.
    """

    def __init__(self, simnet: nn.Module, output: SegOutput, targets: WeakTargets) -> None:
        self.term = PixelSimilarityLoss(simnet).to(output.mask_logits.device).train()
        self.output, self.targets = output, targets
        layers, images = output.class_logits.shape[:2]
        queries = torch.zeros(layers, images, targets.classes.shape[1], dtype=torch.int64)
        self.assignment = Assignment(queries.to(output.mask_logits.device))

    def __call__(self) -> Tensor:
        """Value of the term."""
        torch.manual_seed(0)  # the same points
        parts = self.term(self.output, self.targets, self.assignment)
        loss = sum(self.term.part_weights[name] * value for name, value in parts.items())
        loss.backward()
        return loss.detach()
