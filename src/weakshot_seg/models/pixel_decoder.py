"""The FPN pixel decoder of MaskFormer (arXiv 2107.06278, section 3.3; method section 2)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.norms import GroupNorm


class FPNPixelDecoder(nn.Module):
    """Feature pyramid (``in_channels`` at strides 4, 8, 16, 32) -> per-pixel embeddings at stride 4."""

    def __init__(self, in_channels: Sequence[int], dim: int, embedding_dim: int, groups: int = 32) -> None:
        super().__init__()
        self.top = ConvNorm(in_channels[-1], dim, 3, groups)
        self.laterals = nn.ModuleList(ConvNorm(c, dim, 1, groups) for c in in_channels[:-1])
        self.outputs = nn.ModuleList(ConvNorm(dim, dim, 3, groups) for _ in in_channels[:-1])
        self.embed = nn.Conv2d(dim, embedding_dim, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Levels 4, 8, 16, 32 -> (pixel embeddings ``[B, C, h, w]``, decoded levels ``[B, dim, ., .]``, same order)."""
        levels = [F.relu(self.top(features[-1]))]
        for i in reversed(range(len(self.laterals))):
            lateral = self.laterals[i](features[i])
            top_down = F.interpolate(levels[0], size=lateral.shape[-2:], mode="nearest")
            levels.insert(0, F.relu(self.outputs[i](lateral + top_down)))
        return self.embed(levels[0]), levels


class ConvNorm(nn.Sequential):
    """Convolution without bias and GroupNorm."""

    def __init__(self, in_dim: int, dim: int, kernel: int, groups: int) -> None:
        super().__init__(nn.Conv2d(in_dim, dim, kernel, padding=kernel // 2, bias=False), GroupNorm(groups, dim))
