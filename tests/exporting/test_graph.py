"""What cannot be traced for any size is said in one line."""

import pytest
import torch
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting.graph import SegmentationGraph, trace
from weakshot_seg.structures import SegOutput


class LooksAtValues(nn.Module):
    def forward(self, images: Tensor, last_only: bool) -> SegOutput:
        if images.mean() > 100:
            images = -images
        masks = images[None, :, :, ::4, ::4]
        return SegOutput(torch.zeros(1, len(images), 3, 5), masks, masks[0])


def test_what_cannot_be_traced_is_said_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^torch\.export cannot follow this network .*\(\w+: .*\)$"):
        trace(SegmentationGraph(LooksAtValues()).eval(), torch.uint8)
