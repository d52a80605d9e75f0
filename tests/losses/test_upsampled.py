"""Losses of upsampled unions of masks against the plain composition under autograd."""

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses import functional
from weakshot_seg.losses.functional import StridedGrid, union_mask_losses

Part = tuple[torch.Tensor, torch.Tensor, StridedGrid]


def make(masks_count: int, slots: int, dtype: torch.dtype = torch.float64) -> Part:
    logits = (3 * torch.randn(2, masks_count, slots, 3, 4, dtype=dtype)).requires_grad_()
    grid = StridedGrid((13, 18), 2, 1, 0)
    return logits, torch.rand(masks_count, 6, 9) > 0.6, grid


def upsampled(logits: torch.Tensor, grid: StridedGrid) -> torch.Tensor:
    full = F.interpolate(logits.flatten(0, 1), grid.size, mode="bilinear", align_corners=False)
    return full[..., grid.top :: grid.stride, grid.left :: grid.stride].unflatten(0, logits.shape[:2])


def composed(logits: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and dice loss of ``[L, M, H, W]`` as PyTorch writes them."""
    y = masks.to(logits.dtype).expand_as(logits)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    focal = ((0.75 - 0.5 * y) * (y - p).square() * entropy).mean((2, 3))
    return focal, 1 - (2 * (p * y).sum((2, 3)) + 1) / (p.sum((2, 3)) + y.sum((2, 3)) + 1)


@pytest.mark.parametrize("at_once", [1, 2 * 6 * 9, 7 * 6 * 9, 2**20])  # a mask; two; three of two layers; all
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("masks_count", [0, 1, 3])
def test_values_and_gradients_are_those_of_the_composition(
    masks_count: int, slots: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(functional.AT_ONCE, "cpu", at_once)
    logits, masks, grid = make(masks_count, slots)
    weights = torch.randn(2, 2, masks_count, dtype=torch.float64)
    plain = logits.detach().clone().requires_grad_()
    expected = composed(upsampled(plain, grid).amax(2), masks)
    got = union_mask_losses(logits, masks, grid)
    for losses in (expected, got):
        sum((w * loss).sum() for w, loss in zip(weights, losses, strict=True)).backward()
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(logits.grad, plain.grad)


@pytest.mark.parametrize("slots", [1, 3])
def test_gradcheck(slots: int) -> None:
    logits, *fixed = make(2, slots)
    assert torch.autograd.gradcheck(lambda x: union_mask_losses(x, *fixed), logits)


def test_far_off_logits_have_finite_gradients() -> None:
    logits, masks, grid = make(2, 2, torch.float32)
    far = (100 * logits).detach().requires_grad_()
    focal, dice = union_mask_losses(far, masks, grid)
    (focal.sum() + dice.sum()).backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_nothing_large_is_kept() -> None:
    logits, masks = torch.randn(4, 5, 2, 8, 8, requires_grad=True), torch.rand(5, 64, 64) > 0.5
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        focal, _ = union_mask_losses(logits, masks, StridedGrid((64, 64)))
    assert focal.requires_grad
    assert 0 < sum(t.numel() for t in kept) < 5 * 64 * 64
