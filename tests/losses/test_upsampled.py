"""Losses of upsampled masks against the plain composition under autograd."""

import pytest
import torch
import torch.nn.functional as F

from weakshot_seg.losses.functional import mask_losses
from weakshot_seg.losses.upsampled import upsampled_mask_losses

Part = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def make(masks_count: int, dtype: torch.dtype = torch.float64) -> Part:
    logits = (3 * torch.randn(2, masks_count, 3, 4, dtype=dtype)).requires_grad_()
    masks = torch.rand(masks_count, 7, 9) > 0.6
    return logits, masks, torch.rand(7, 3, dtype=dtype), torch.rand(9, 4, dtype=dtype)


@pytest.mark.parametrize("masks_count", [0, 1, 3])
def test_values_and_gradients_are_those_of_the_composition(masks_count: int) -> None:
    logits, masks, vertical, horizontal = make(masks_count)
    if masks_count > 1:
        masks[0], masks[1] = False, True
    weights = torch.randn(2, 2, masks_count, dtype=torch.float64)
    plain = logits.detach().clone().requires_grad_()
    expected = mask_losses(torch.einsum("yh,lmhw,xw->lmyx", vertical, plain, horizontal), masks)
    got = upsampled_mask_losses(logits, masks, vertical, horizontal)
    for losses in (expected, got):
        sum((w * loss).sum() for w, loss in zip(weights, losses, strict=True)).backward()
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(logits.grad, plain.grad)


def test_gradcheck() -> None:
    logits, *fixed = make(2)
    assert torch.autograd.gradcheck(lambda x: upsampled_mask_losses(x, *fixed), logits)


def test_far_off_logits_have_finite_gradients() -> None:
    logits, masks, vertical, horizontal = make(2, torch.float32)
    far = (100 * logits).detach().requires_grad_()
    focal, dice = upsampled_mask_losses(far, masks, vertical, horizontal)
    (focal.sum() + dice.sum()).backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_nothing_large_is_kept() -> None:
    logits, masks = torch.randn(4, 5, 8, 8, requires_grad=True), torch.rand(5, 64, 64) > 0.5
    matrix = F.interpolate(torch.eye(8)[None], 64, mode="linear")[0].T
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        upsampled_mask_losses(logits, masks, matrix, matrix)
    assert sum(t.numel() for t in kept if t.is_floating_point()) < 5 * 64 * 64
