"""Losses of upsampled unions of masks against the plain composition under autograd."""

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses import functional
from weakshot_seg.losses.functional import mask_losses
from weakshot_seg.losses.resize import LinearResize
from weakshot_seg.losses.upsampled import upsampled_mask_losses

Part = tuple[torch.Tensor, torch.Tensor, LinearResize]


def make(masks_count: int, slots: int, dtype: torch.dtype = torch.float64) -> Part:
    logits = (3 * torch.randn(2, masks_count, slots, 3, 4, dtype=dtype)).requires_grad_()
    masks = torch.rand(masks_count, 7, 9) > 0.6
    return logits, masks, LinearResize.of(torch.rand(7, 3, dtype=dtype), torch.rand(9, 4, dtype=dtype))


def composed(logits: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Focal and dice loss of ``[L, M, H, W]`` as PyTorch writes them."""
    y = masks.to(logits.dtype).expand_as(logits)
    p = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
    focal = ((0.75 - 0.5 * y) * (y - p).square() * entropy).mean((2, 3))
    return focal, 1 - (2 * (p * y).sum((2, 3)) + 1) / (p.sum((2, 3)) + y.sum((2, 3)) + 1)


@pytest.mark.parametrize("at_once", [1, 2 * 7 * 9, 7 * 7 * 9, 2**20])  # a mask; two; three of two layers; all
@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("masks_count", [0, 1, 3])
def test_values_and_gradients_are_those_of_the_composition(
    masks_count: int, slots: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(functional.AT_ONCE, "cpu", at_once)
    logits, masks, resize = make(masks_count, slots)
    weights = torch.randn(2, 2, masks_count, dtype=torch.float64)
    plain = logits.detach().clone().requires_grad_()
    expected = composed(resize(plain).amax(2), masks)
    got = upsampled_mask_losses(logits, masks, resize, mask_losses)
    for losses in (expected, got):
        sum((w * loss).sum() for w, loss in zip(weights, losses, strict=True)).backward()
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(logits.grad, plain.grad)


@pytest.mark.parametrize("slots", [1, 3])
def test_gradcheck(slots: int) -> None:
    logits, *fixed = make(2, slots)
    assert torch.autograd.gradcheck(lambda x: upsampled_mask_losses(x, *fixed, mask_losses), logits)


def test_far_off_logits_have_finite_gradients() -> None:
    logits, masks, resize = make(2, 2, torch.float32)
    far = (100 * logits).detach().requires_grad_()
    focal, dice = upsampled_mask_losses(far, masks, resize, mask_losses)
    (focal.sum() + dice.sum()).backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_nothing_large_is_kept() -> None:
    logits, masks = torch.randn(4, 5, 2, 8, 8, requires_grad=True), torch.rand(5, 64, 64) > 0.5
    matrix = F.interpolate(torch.eye(8)[None], 64, mode="linear")[0].T
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        focal, _ = upsampled_mask_losses(logits, masks, LinearResize.of(matrix, matrix), mask_losses)
    assert focal.requires_grad
    assert 0 < sum(t.numel() for t in kept) < 5 * 64 * 64
