"""The strided grid against plain bilinear upsampling and slicing."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses.functional import StridedGrid


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 24), (15, 23), (17, 9), (3, 2), (4, 6)])
def test_resizes_bilinearly_at_the_grid(stride: int, size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    full = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    for top in range(min(stride, size[0])):
        for left in range(min(stride, size[1])):
            grid = StridedGrid(size, stride, top, left)
            torch.testing.assert_close(
                grid.resize(maps), full[..., top::stride, left::stride], rtol=1e-10, atol=1e-10
            )


def test_pick_takes_the_pixels_of_the_grid() -> None:
    rows = torch.arange(5.0)[:, None].expand(5, 7)
    grid = StridedGrid((5, 7), 2, 1, 0)
    assert grid.pick(rows).tolist() == [[1] * 4, [3] * 4]


def test_stride_one_takes_every_pixel_without_drawing_a_random_number() -> None:
    before = torch.get_rng_state()
    grid = StridedGrid.draw((3, 4), 1)
    assert grid.pick(torch.ones(3, 4)).sum() == 12
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("stride", [2, 3])
def test_over_the_steps_all_pixels_come_up_equally_often(stride: int) -> None:
    size = (6, 9)
    counts: Counter[int] = Counter()
    pixels = torch.arange(54).view(size)
    draws = 600
    for _ in range(draws):
        counts.update(StridedGrid.draw(size, stride).pick(pixels).flatten().tolist())
    assert len(counts) == 54
    expected = draws / stride**2
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


@pytest.mark.parametrize("size", [(1, 5), (5, 1), (1, 1), (2, 2)])
def test_maps_smaller_than_the_stride_have_pixels_too(size: tuple[int, int]) -> None:
    for _ in range(50):
        grid = StridedGrid.draw(size, 3)
        picked = grid.pick(torch.ones(size))
        assert picked.numel() > 0
        maps = torch.ones(1, 2, 2)
        assert grid.resize(maps).shape[-2:] == picked.shape
