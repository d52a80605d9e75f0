"""Semantic inference: every pixel takes the class its proposals vote for (MaskFormer section 3.4; method section 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.structures import SegOutput

Size = tuple[int, int]


def semantic_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """score_c(x) = sum_n softmax(class logits)_n[c] * sigmoid(mask logits)_n(x), over the K classes (not normalised).

    Args:
        class_logits: float ``[B, Q, K+1]``.
        mask_logits: float ``[B, Q, H, W]``.

    Returns:
        float ``[B, K, H, W]``.
    """
    classes = class_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqk,bqhw->bkhw", classes, mask_logits.sigmoid())


def resized_scores(output: SegOutput, image: int, padded: Size, content: Size, size: Size) -> Tensor:
    """Scores ``[K, *size]`` of one image: masks upsampled to the padded input, cropped to the content, resized."""
    mask_logits = output.mask_logits[-1, image : image + 1].float()
    masks = F.interpolate(mask_logits, padded, mode="bilinear", align_corners=False)
    scores = semantic_scores(output.class_logits[-1, image : image + 1].float(), masks[..., : content[0], : content[1]])
    if size != content:
        scores = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    return scores[0]


def predict_maps(output: SegOutput, padded: Size, contents: Sequence[Size], sizes: Sequence[Size]) -> list[Tensor]:
    """Label maps at the original sizes.

    Args:
        output: network output of B images.
        padded: size of the network's input.
        contents: size of each image within its padded input.
        sizes: size of each label map.

    Returns:
        B uint8 maps ``[H_i, W_i]`` with class ids 0..K-1.
    """
    return [
        resized_scores(output, i, padded, content, size).argmax(0).to(torch.uint8)
        for i, (content, size) in enumerate(zip(contents, sizes, strict=True))
    ]
