"""A small SimFormer."""

from typing import Any

import torch

from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer

SWIN = {"embed_dim": 32, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}


def small_simformer(name: str = "resnet10t", backbone: dict[str, Any] | None = None, **options: Any) -> SimFormer:
    """Of five classes and seven queries, in evaluation mode; the same weights at every call."""
    torch.manual_seed(1)
    small = {"dim": 16, "pixel_dim": 32, "embedding_dim": 8, "num_layers": 2, "num_heads": 4, "ffn_dim": 24}
    return SimFormer(5, TimmBackbone(name, **(backbone or {})), **{"num_queries": 7, **small, **options}).eval()
