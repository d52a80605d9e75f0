"""A network that cannot be traced for any size, or not in time, is refused in one line."""

import time

import pytest
import torch
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting.graph import SegmentationGraph, time_limit, trace
from weakshot_seg.structures import SegOutput


class BranchOnValues(nn.Module):
    def forward(self, images: Tensor, last_only: bool) -> SegOutput:
        if images.mean() > 100:
            images = -images
        masks = images[None, :, :, ::4, ::4]
        return SegOutput(torch.zeros(1, len(images), 3, 5), masks, masks[0])


class Endless(nn.Module):
    def forward(self, images: Tensor, last_only: bool) -> SegOutput:
        start = time.monotonic()
        while time.monotonic() < start + 20:
            images = images + 1
        raise AssertionError("nobody ended it")


def test_a_network_that_cannot_be_traced() -> None:
    with pytest.raises(ConfigError, match=r"^torch\.export cannot follow this network .*\(\w+: .*\)$"):
        trace(SegmentationGraph(BranchOnValues()).eval(), torch.uint8)


def test_a_trace_without_end_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"^the export .* taken 0\.5 seconds .* time_limit=SECONDS$"), time_limit(0.5):
        trace(SegmentationGraph(Endless()).eval(), torch.uint8)
    assert time.monotonic() < start + 10
    with time_limit(0.1):  # in time
        pass
    time.sleep(0.2)
