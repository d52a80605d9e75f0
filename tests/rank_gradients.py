"""Gradients of every loss term on one of several processes, for ``test_ddp.py``."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from weakshot_seg.losses.assignments import ClassQueries
from weakshot_seg.losses.presence import PresenceLoss
from weakshot_seg.losses.similarity import PixelSimilarityLoss
from weakshot_seg.losses.terms import AbsenceLoss, ClassificationLoss, ComplementLoss, LossTerm, MaskLoss
from weakshot_seg.models.simnet import SimNet
from weakshot_seg.structures import SegOutput, WeakTargets


def terms(channels: int) -> dict[str, LossTerm]:
    """All terms, without chance: more points are asked for than there are pixels, so every pixel is taken."""
    torch.manual_seed(0)
    simnet = SimNet(channels, hidden_dim=8, num_blocks=2, batch_norm=False)
    return {
        "classification": ClassificationLoss(),
        "mask": MaskLoss(),
        "complement": ComplementLoss(),
        "absence": AbsenceLoss(),
        "presence": PresenceLoss(),
        "similarity": PixelSimilarityLoss(simnet, num_points=10_000),
    }


def gradients(inputs: dict[str, Tensor], images: slice) -> dict[str, Tensor]:
    """Gradients of each term by the network's outputs for some images, and by SimNet's weights."""
    targets = WeakTargets.collate(
        inputs["label_maps"][images], inputs["padding"][images], inputs["states"][images], inputs["novel"], paired=True
    )
    found = {}
    for name, term in terms(inputs["pixel_embeddings"].shape[1]).items():
        leaves = {
            "class_logits": inputs["class_logits"][:, images].clone().requires_grad_(),
            "mask_logits": inputs["mask_logits"][:, images].clone().requires_grad_(),
            "presence_logits": inputs["presence_logits"][:, images].clone().requires_grad_(),
        }
        presence = leaves["presence_logits"][0]
        output = SegOutput(
            leaves["class_logits"], leaves["mask_logits"], inputs["pixel_embeddings"][images], presence_logits=presence
        )
        parts = term(output, targets, ClassQueries()(output, targets))
        sum(term.part_weights[part] * value for part, value in parts.items()).backward()
        leaves |= dict(term.named_parameters())
        found |= {f"{name}/{leaf}": tensor.grad for leaf, tensor in leaves.items() if tensor.grad is not None}
    return found


def write_gradients(inputs: dict[str, Tensor], folder: Path, rank: int, world_size: int) -> None:
    """Those of the share of one process, to ``gradients-RANK.pt``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=world_size)
    share = len(inputs["states"]) // world_size
    torch.save(gradients(inputs, slice(rank * share, (rank + 1) * share)), folder / f"gradients-{rank}.pt")
    dist.destroy_process_group()
