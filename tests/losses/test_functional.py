"""Mask losses against loops over pixels, hand values and numerical gradients."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weakshot_seg.losses.functional import mask_losses, pairwise_mask_cost


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def focal_by_loop(logits: list[float], mask: list[bool]) -> float:
    total = 0.0
    for x, y in zip(logits, mask, strict=True):
        p = sigmoid(x)
        total += 0.25 * (1 - p) ** 2 * softplus(-x) if y else 0.75 * p**2 * softplus(x)
    return total / len(logits)


def dice_by_loop(logits: list[float], mask: list[bool]) -> float:
    p = [sigmoid(x) for x in logits]
    overlap = sum(a for a, y in zip(p, mask, strict=True) if y)
    return 1 - (2 * overlap + 1) / (sum(p) + sum(mask) + 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 5, 7)])
def test_mask_losses_equal_loops_over_pixels(shape: tuple[int, ...]) -> None:
    logits = 5 * torch.randn(shape, dtype=torch.float64)
    masks = torch.rand(shape) > 0.6
    losses = mask_losses(logits, masks)
    for m in range(shape[0]):
        pixels, mask = logits[m].flatten().tolist(), masks[m].flatten().tolist()
        assert losses.focal[m].item() == pytest.approx(focal_by_loop(pixels, mask), rel=1e-9)
        assert losses.dice[m].item() == pytest.approx(dice_by_loop(pixels, mask), rel=1e-9)


def test_hand_values() -> None:
    logits = torch.zeros(1, 1, 2, dtype=torch.float64)  # probability 1/2, one pixel in the mask
    losses = mask_losses(logits, torch.tensor([[[True, False]]]))
    assert losses.focal.item() == pytest.approx((0.25 + 0.75) / 2 * 0.25 * math.log(2))
    assert losses.dice.item() == pytest.approx(1 - (2 * 0.5 + 1) / (1 + 1 + 1))


def test_a_perfect_mask_costs_nothing_and_an_inverted_one_much() -> None:
    mask = torch.rand(1, 6, 6) > 0.5
    logits = torch.where(mask, 30.0, -30.0)
    losses = mask_losses(logits, mask)
    torch.testing.assert_close(losses.focal, torch.zeros(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(losses.dice, torch.zeros(1), atol=1e-6, rtol=0)
    losses = mask_losses(-logits, mask)
    share = mask.double().mean().item()
    assert losses.focal.item() == pytest.approx(30 * (0.25 * share + 0.75 * (1 - share)), rel=1e-5)
    assert losses.dice.item() == pytest.approx(1 - 1 / 37, rel=1e-5)


@pytest.mark.parametrize("full", [False, True])
def test_empty_and_full_masks(full: bool) -> None:
    logits = torch.randn(1, 3, 3, dtype=torch.float64)
    losses = mask_losses(logits, torch.full((1, 3, 3), full))
    pixels = logits.flatten().tolist()
    assert losses.focal.item() == pytest.approx(focal_by_loop(pixels, [full] * 9))
    assert losses.dice.item() == pytest.approx(dice_by_loop(pixels, [full] * 9))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-200, 200, width=32), st.booleans()), min_size=1, max_size=30))
def test_float32_stays_near_the_truth_and_in_range(pixels: list[tuple[float, bool]]) -> None:
    values, mask = [p for p, _ in pixels], [y for _, y in pixels]
    losses = mask_losses(torch.tensor(values)[None, None], torch.tensor(mask)[None, None])
    assert losses.focal.item() == pytest.approx(focal_by_loop(values, mask), rel=1e-4, abs=1e-6)
    assert losses.dice.item() == pytest.approx(dice_by_loop(values, mask), rel=1e-4, abs=1e-6)
    assert losses.gradients.isfinite().all()


def composed(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The same losses as PyTorch writes them."""
    y = masks.to(logits.dtype)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    focal = (0.75 - 0.5 * y) * (y - p).square() * entropy
    dice = 1 - (2 * (p * y).sum((1, 2)) + 1) / (p.sum((1, 2)) + y.sum((1, 2)) + 1)
    return focal.mean((1, 2)), dice


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
