"""Mask losses against loops over pixels, numerical gradients, and PyTorch's interpolation under autograd."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weakshot_seg.losses import functional
from weakshot_seg.losses.functional import StridedGrid, mask_losses, pairwise_mask_cost, union_mask_losses


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def focal_by_loop(logits: list[float], mask: list[bool]) -> float:
    total = 0.0
    for x, y in zip(logits, mask, strict=True):
        total += (
            0.25 * math.exp(-2 * softplus(x)) * softplus(-x) if y else 0.75 * math.exp(-2 * softplus(-x)) * softplus(x)
        )
    return total / len(logits)


def dice_by_loop(logits: list[float], mask: list[bool]) -> float:
    p = [math.exp(-softplus(-x)) for x in logits]
    overlap = sum(a for a, y in zip(p, mask, strict=True) if y)
    return 1 - (2 * overlap + 1) / (sum(p) + sum(mask) + 1)


def composed(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Focal and dice loss as PyTorch writes them."""
    y = masks.to(logits.dtype).expand_as(logits)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    focal = ((0.75 - 0.5 * y) * (y - p).square() * entropy).mean((-2, -1))
    return focal, 1 - (2 * (p * y).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + y.sum((-2, -1)) + 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-200, 200, width=32), st.booleans()), min_size=1, max_size=30))
def test_mask_losses_equal_loops_over_pixels(pixels: list[tuple[float, bool]]) -> None:
    values, mask = [p for p, _ in pixels], [y for _, y in pixels]
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        losses = mask_losses(torch.tensor(values, dtype=dtype)[None, None], torch.tensor(mask)[None, None])
        assert losses.focal.item() == pytest.approx(focal_by_loop(values, mask), rel=tolerance, abs=1e-6)
        assert losses.dice.item() == pytest.approx(dice_by_loop(values, mask), rel=tolerance, abs=1e-6)
        assert losses.gradients.isfinite().all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_gradients_are_those_of_autograd(count: int) -> None:
    logits = (3 * torch.randn(count, 4, 5, dtype=torch.float64)).requires_grad_()
    masks = torch.rand(count, 4, 5) > 0.5
    if count > 1:
        masks[0], masks[1] = False, True
    got = mask_losses(logits, masks)
    for loss, value, gradient in zip(composed(logits, masks), (got.focal, got.dice), got.gradients, strict=True):
        torch.testing.assert_close(value, loss.detach())
        torch.testing.assert_close(gradient, torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0])


@pytest.mark.parametrize("weights", [(20.0, 1.0), (1.0, 0.0), (0.0, 3.0)])
def test_pairwise_cost_equals_loops_over_all_pairs(weights: tuple[float, float]) -> None:
    logits = 4 * torch.randn(2, 3, 5, 14, dtype=torch.float64)  # [L, B, Q, P]
    masks = (torch.rand(3, 14, 4) > 0.5).double()  # [B, P, N]
    masks[0, :, 1] = 0
    cost = pairwise_mask_cost(logits, masks, *weights)
    assert cost.shape == (2, 3, 5, 4)
    for layer, image, query, n in torch.cartesian_prod(*map(torch.arange, cost.shape)).tolist():
        pixels, mask = logits[layer, image, query].tolist(), [bool(v) for v in masks[image, :, n]]
        expected = weights[0] * focal_by_loop(pixels, mask) + weights[1] * dice_by_loop(pixels, mask)
        assert cost[layer, image, query, n].item() == pytest.approx(expected, rel=1e-9)


def test_pairwise_cost_agrees_with_mask_losses_at_large_logits() -> None:
    logits = torch.linspace(-120, 120, 60).view(1, 1, 1, 60)
    mask = torch.rand(60) > 0.5
    cost = pairwise_mask_cost(logits, mask.float()[None, :, None], 20.0, 1.0)
    losses = mask_losses(logits[0], mask.view(1, 1, 60))
    torch.testing.assert_close(cost.flatten(), 20 * losses.focal + losses.dice)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 24), (15, 23), (17, 9), (3, 2), (4, 6), (1, 1)])
def test_the_grid_resizes_bilinearly(stride: int, size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    full = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    for top in range(min(stride, size[0])):
        for left in range(min(stride, size[1])):
            grid = StridedGrid(size, stride, top, left)
            expected = full[..., top::stride, left::stride]
            torch.testing.assert_close(grid.resize(maps), expected)
            assert torch.equal(grid.pick(full), expected)
            gradient = torch.randn_like(expected)
            (wanted,) = torch.autograd.grad(expected, maps, gradient, retain_graph=True)
            torch.testing.assert_close(grid.adjoint(gradient, 4, 6), wanted)


@pytest.mark.parametrize(("size", "stride"), [((6, 9), 2), ((6, 9), 3), ((1, 5), 3), ((2, 1), 3)])
def test_over_the_steps_all_pixels_come_up(size: tuple[int, int], stride: int) -> None:
    before = torch.get_rng_state()
    assert StridedGrid.draw(size, 1) == StridedGrid(size)
    assert torch.equal(before, torch.get_rng_state())
    counts: Counter[int] = Counter()
    pixels = torch.arange(size[0] * size[1]).view(size)
    for _ in range(600):
        picked = StridedGrid.draw(size, stride).pick(pixels).flatten().tolist()
        assert picked  # also of maps smaller than the stride
        counts.update(picked)
    assert len(counts) == pixels.numel()
    if min(size) >= stride:
        expected = 600 / stride**2
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


GRID = StridedGrid((13, 18), 2, 1, 0)


def make(count: int, slots: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return (3 * torch.randn(2, count, slots, 3, 4, dtype=dtype)).requires_grad_(), torch.rand(count, 6, 9) > 0.6


@pytest.mark.parametrize("at_once", [1, 2 * 6 * 9, 7 * 6 * 9, 2**20])  # a mask; two; three of two layers; all
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_losses_of_unions_are_those_of_the_composition(
    count: int, slots: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(functional.AT_ONCE, "cpu", at_once)
    logits, masks = make(count, slots)
    weights = torch.randn(2, 2, count, dtype=torch.float64)
    plain = logits.detach().clone().requires_grad_()
    full = F.interpolate(plain.flatten(0, 1), GRID.size, mode="bilinear", align_corners=False)
    expected = composed(GRID.pick(full).unflatten(0, plain.shape[:2]).amax(2), masks)
    got = union_mask_losses(logits, masks, GRID)
    for losses in (expected, got):
        sum((w * loss).sum() for w, loss in zip(weights, losses, strict=True)).backward()
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(logits.grad, plain.grad)


def test_nothing_large_is_kept() -> None:
    logits, masks = torch.randn(4, 5, 2, 8, 8, requires_grad=True), torch.rand(5, 64, 64) > 0.5
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        focal, _ = union_mask_losses(logits, masks, StridedGrid((64, 64)))
    assert focal.requires_grad
    assert 0 < sum(t.numel() for t in kept) < 5 * 64 * 64
