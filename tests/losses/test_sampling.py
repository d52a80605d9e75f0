"""Random pixels and classes: region respected, distinct, uniform."""

import pytest
import torch

from weakshot_seg.losses.similarity import choose_class, sample_points
from weakshot_seg.structures import take_points


def nowhere(region: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(region)


def test_points_are_distinct_and_inside_the_region() -> None:
    region = torch.rand(6, 400) > 0.7
    points = sample_points(region, 40, nowhere(region))
    assert points.shape == (6, 40)
    assert points.dtype == torch.int64
    assert region.gather(1, points).all()
    assert all(len(set(row)) == 40 for row in points.tolist())


def test_a_small_region_is_taken_whole_and_the_rest_comes_from_anywhere() -> None:
    region = torch.zeros(50, 100, dtype=torch.bool)
    region[:, [3, 77, 78]] = True
    points = sample_points(region, 10, nowhere(region))
    others: set[int] = set()
    for row in points.tolist():
        assert len(set(row)) == 10
        assert {3, 77, 78} <= set(row)
        others |= set(row) - {3, 77, 78}
    assert len(others) > 90


def test_padding_is_drawn_last() -> None:
    region, padding = torch.zeros(20, 100, dtype=torch.bool), torch.zeros(20, 100, dtype=torch.bool)
    region[:, :3], padding[:, 10:] = True, True
    assert all(set(row) < set(range(10)) for row in sample_points(region, 9, padding).tolist())
    assert all(set(row) > set(range(10)) for row in sample_points(region, 11, padding).tolist())


@pytest.mark.parametrize("fill", [False, True])
def test_empty_and_full_regions_give_pixels_from_anywhere(fill: bool) -> None:
    region = torch.full((2, 30), fill)
    points = sample_points(region, 30, nowhere(region))
    assert points.sort().values.tolist() == [list(range(30))] * 2


def test_never_more_points_than_pixels() -> None:
    region = torch.ones(2, 5, dtype=torch.bool)
    assert sample_points(region, 100, nowhere(region)).shape == (2, 5)


def test_all_pixels_of_a_region_are_drawn_equally_often() -> None:
    region = torch.zeros(2000, 20, dtype=torch.bool)
    region[:, ::2] = True
    share = torch.bincount(sample_points(region, 2, nowhere(region)).flatten(), minlength=20) / 2000
    assert (share[1::2] == 0).all()
    torch.testing.assert_close(share[::2], torch.full((10,), 0.2), atol=0.04, rtol=0)


def test_choose_class_is_uniform_among_the_candidates() -> None:
    candidates = torch.zeros(6000, 7, dtype=torch.bool)
    candidates[:, [1, 4, 6]] = True
    counts = torch.bincount(choose_class(candidates), minlength=7)
    assert counts[[0, 2, 3, 5]].sum() == 0
    assert (counts[[1, 4, 6]] > 1800).all()


def test_choose_class_without_a_candidate_is_minus_one() -> None:
    candidates = torch.tensor([[False, False], [False, True]])
    assert choose_class(candidates).tolist() == [-1, 1]


def test_take_points_indexes_pixels() -> None:
    maps = torch.randn(2, 3, 10)
    points = torch.tensor([[0, 9, 4], [4, 4, 1]])
    taken = take_points(maps, points)
    assert taken.shape == (2, 3, 3)
    for image in range(2):
        for j, pixel in enumerate(points[image].tolist()):
            assert torch.equal(taken[image, j], maps[image, :, pixel])
