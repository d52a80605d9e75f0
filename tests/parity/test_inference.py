"""Semantic inference."""

import re
from pathlib import Path

import numpy as np
import torch

from parity.golden import compare
from weakshot_seg.inference.semantic import best_class, scores_of, semantic_scores
from weakshot_seg.structures import SegOutput


def test_semantic_inference(inference_path: Path) -> None:
    arrays = np.load(inference_path)
    class_logits, masks = torch.from_numpy(arrays["pred_logits"]), torch.from_numpy(arrays["pred_masks"])
    output = SegOutput(class_logits[None], masks[None], torch.zeros(len(masks), 1, *masks.shape[-2:]))
    compare(inference_path, semantic_scores(output.class_scores(), masks), arrays["scores_lowres"])
    upsampled = [k for k in arrays.files if re.fullmatch(r"scores_\d+", k)]
    cropped = [m for k in arrays.files if (m := re.fullmatch(r"post_crop(\d+)x(\d+)_to_(\d+)x(\d+)_b(\d+)", k))]
    assert upsampled
    assert cropped
    for key in upsampled:
        size = arrays[key].shape[-2:]
        sizes = [size] * len(masks)
        for image in range(len(masks)):
            compare(inference_path, scores_of(output, size, sizes)[image](slice(None), size), arrays[key][image])
        best = torch.stack([best_class(scores, size)[0] for scores in scores_of(output, size, sizes)])
        assert torch.equal(best.long(), torch.from_numpy(arrays[key.replace("scores", "argmax")]).long())
        for match in cropped:
            *numbers, image = map(int, match.groups())
            content, target = (numbers[0], numbers[1]), (numbers[2], numbers[3])
            compare(
                inference_path,
                scores_of(output, size, [content] * len(masks))[image](slice(None), target),
                arrays[match[0]],
            )
