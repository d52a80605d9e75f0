"""The network from pixels to classes as one module of pure tensors, for export."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.utils.padding import MULTIPLE, PADDING_VALUE

Output = Literal["labels", "scores"]


class SegmentationGraph(nn.Module):
    """Images of any size in, classes of every pixel out; normalisation, padding and upsampling are within.

    Computes what ``inference=whole`` does, without a branch that depends on the size.

    Args:
        network: in evaluation mode.
        output: "labels" or "scores" of all classes (method section 6), which take K times 4 bytes per pixel.
    """

    def __init__(self, network: SimFormer, output: Output) -> None:
        super().__init__()
        self.network = network
        self.output = output

    def forward(self, images: Tensor) -> Tensor:
        """RGB images uint8 ``[B, 3, H, W]`` -> labels uint8 ``[B, H, W]`` or scores float32 ``[B, K, H, W]``."""
        height, width = images.shape[-2:]
        down, right = -height % MULTIPLE, -width % MULTIPLE
        padded = F.pad(images.float(), (0, right, 0, down), value=float(PADDING_VALUE))
        output = self.network(padded, last_only=True)
        masks = F.interpolate(output.mask_logits[-1], padded.shape[-2:], mode="bilinear", align_corners=False)
        votes = output.class_logits[-1].softmax(-1)[..., :-1]
        # semantic_scores() goes through the batch in a loop, which would fix its size
        scores = torch.einsum("bqk,bqhw->bkhw", votes, masks.sigmoid())
        result = scores if self.output == "scores" else scores.argmax(1).to(torch.uint8)
        # the crop; a slice would be contiguous at some sizes only, on which the exported graph would then insist
        rows, columns = (torch.arange(length, device=result.device) for length in (height, width))
        return result.index_select(-2, rows).index_select(-1, columns)
