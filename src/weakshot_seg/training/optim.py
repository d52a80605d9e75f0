"""AdamW parameter groups and the poly schedule (method section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from weakshot_seg.utils.ranges import NonNegative, NonNegativeInt

EMBEDDINGS = ("pos_embed", "cls_token", "reg_token", "relative_position_bias_table")
"""Names of bare embedding parameters in timm's transformers."""
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class PolyAdamW:
    """AdamW with a slower backbone, no weight decay on norms and embeddings, and lr * (1 - step/max)^power.

    Attributes:
        lr: learning rate.
        weight_decay: decay of everything but norms and embeddings.
        backbone_factor: the backbone's learning rate relative to ``lr``.
        power: exponent of the poly schedule.
        warmup_steps: steps of linear warm-up from 0.
    """

    lr: NonNegative = 1e-4
    weight_decay: NonNegative = 1e-4
    backbone_factor: NonNegative = 0.1
    power: NonNegative = 0.9
    warmup_steps: NonNegativeInt = 0

    def build(self, module: nn.Module, max_steps: int, fused: bool = True) -> tuple[AdamW, LambdaLR]:
        """Optimiser and per-step schedule of all trainable parameters; those of a ``backbone`` are slower."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter, owner in _parameters(module):
            parts = name.split(".")
            backbone = "backbone" in parts and "pyramid" not in parts  # a plain ViT's pyramid is new, not pretrained
            decay = not isinstance(owner, (*NORMS, nn.Embedding)) and parts[-1] not in EMBEDDINGS
            groups.setdefault((backbone, decay), []).append(parameter)
        optimizer = AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.lr * (self.backbone_factor if backbone else 1.0),
                    "weight_decay": self.weight_decay if decay else 0.0,
                    "name": f"{'backbone' if backbone else 'head'}{'' if decay else ' (no decay)'}",
                }
                for (backbone, decay), parameters in sorted(groups.items())
            ],
            lr=self.lr,
            fused=fused,
        )
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step, max_steps))

    def factor(self, step: int, max_steps: int) -> float:
        """Learning rate at ``step`` relative to the start."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * max(0.0, 1 - step / max_steps) ** self.power


def _parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Trainable parameters, once each, with name and the module that owns them."""
    seen: set[int] = set()
    for prefix, owner in module.named_modules():
        for name, parameter in owner.named_parameters(prefix=prefix, recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter, owner
