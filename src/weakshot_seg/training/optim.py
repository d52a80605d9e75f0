"""AdamW parameter groups and the poly schedule (method section 8)."""

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

    After ``warmup_steps`` of linear warm-up from 0; the backbone's learning rate is ``backbone_factor * lr``.
    """

    lr: NonNegative = 1e-4
    weight_decay: NonNegative = 1e-4
    backbone_factor: NonNegative = 0.1
    power: NonNegative = 0.9
    warmup_steps: NonNegativeInt = 0

    def build(self, module: nn.Module, max_steps: int, fused: bool = True) -> tuple[AdamW, LambdaLR]:
        """Optimiser and per-step schedule of all trainable parameters; those of a ``backbone`` are slower."""
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        owners = dict(module.named_modules())
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                *path, last = name.split(".")
                backbone = "backbone" in path and "pyramid" not in path  # a plain ViT's pyramid is new, not pretrained
                decay = not isinstance(owners[".".join(path)], (*NORMS, nn.Embedding)) and last not in EMBEDDINGS
                groups.setdefault((backbone, decay), []).append(parameter)
        options = [
            {
                "params": groups[backbone, decay],
                "lr": self.lr * (self.backbone_factor if backbone else 1.0),
                "weight_decay": self.weight_decay if decay else 0.0,
                "name": f"{'backbone' if backbone else 'head'}{'' if decay else ' (no decay)'}",
            }
            for backbone, decay in sorted(groups)
        ]
        optimizer = AdamW(options, lr=self.lr, fused=fused)
        return optimizer, LambdaLR(optimizer, lambda step: self.factor(step, max_steps))

    def factor(self, step: int, max_steps: int) -> float:
        """Learning rate at ``step`` relative to the start."""
        warmup = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        return warmup * max(0.0, 1 - step / max_steps) ** self.power
