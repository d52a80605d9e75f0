"""The sine position embedding against plain loops."""

import math

import pytest
import torch

from weakshot_seg.models.query_decoder import sine_position_embedding


@pytest.mark.parametrize(("height", "width", "dim"), [(1, 1, 4), (3, 5, 8), (7, 2, 32)])
def test_equals_a_plain_loop(height: int, width: int, dim: int) -> None:
    embedding = sine_position_embedding(height, width, dim)
    assert embedding.shape == (dim, height, width)
    assert embedding.dtype == torch.float32
    half = dim // 2
    for c in range(dim):
        for y in range(height):
            for x in range(width):
                place = (y + 1) / (height + 1e-6) if c < half else (x + 1) / (width + 1e-6)
                k = c % half
                angle = place * 2 * math.pi / 10000 ** (2 * (k // 2) / half)
                expected = math.sin(angle) if k % 2 == 0 else math.cos(angle)
                assert embedding[c, y, x].item() == pytest.approx(expected, abs=2e-6)


def test_every_place_differs() -> None:
    places = sine_position_embedding(9, 11, 16).flatten(1).T
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 1e-3
