"""Scores are gated in exported files, too; what cannot be traced for any size, or not in time, is refused in a line."""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.small import small_simformer
from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting.agreement import compare, runner
from weakshot_seg.exporting.formats import FORMATS
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


@pytest.mark.parametrize("name", FORMATS)
def test_files_gate_the_scores_as_the_model_does(name: str, tmp_path: Path) -> None:
    gated, plain = small_simformer(presence_gamma=0.5), small_simformer()
    with torch.no_grad():
        gated.presence.classify.bias.copy_(torch.linspace(-4, 4, 5))
    files = [tmp_path / f"{suffix}.tmp" for suffix in FORMATS[name].suffixes]
    FORMATS[name].write(trace(SegmentationGraph(gated).eval(), torch.uint8), {}, *files)
    run = FORMATS[name].load(*files)
    batches = [
        np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8) for size in ((40, 70), (64, 96))
    ]
    model, ungated = (runner(partial(network, last_only=True)) for network in (gated, plain))
    assert all(found.max_difference < 1e-4 for found in compare(run, model, batches))
    assert all(found.max_difference > 0.01 for found in compare(run, ungated, batches))
