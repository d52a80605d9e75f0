"""GroupNorm with channels last, and frozen BatchNorm."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.norms import FrozenBatchNorm2d, GroupNorm


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_are_those_of_double_precision_far_from_zero(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    norm = GroupNorm(8, 32)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    x = (torch.randn(2, 32, 40, 40) + 100 * torch.randn(2, 32, 1, 1).sign()).contiguous(memory_format=memory_format)
    given = torch.randn_like(x)

    def run(x: Tensor, weight: Tensor, bias: Tensor, custom: bool) -> tuple[Tensor, ...]:
        x = x.detach().requires_grad_()
        y = norm(x) if custom else F.group_norm(x, 8, weight, bias, norm.eps)
        return y, *torch.autograd.grad(y, (x, weight, bias), given.to(y.dtype))

    ours = run(x, norm.weight, norm.bias, custom=True)
    exact = run(x.double(), norm.weight.double(), norm.bias.double(), custom=False)
    for a, b in zip(ours, exact, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_norm_is_batch_norm_in_evaluation_mode(dtype: torch.dtype) -> None:
    norm = FrozenBatchNorm2d(64).requires_grad_(False).eval()
    for values in (norm.running_mean, norm.weight.data, norm.bias.data):
        nn.init.normal_(values)
    nn.init.uniform_(norm.running_var, 0.1, 2)
    x, kept = torch.randn(2, 64, 5, 7, dtype=dtype, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = norm(x)
    assert y.dtype == dtype
    assert dtype != torch.float32 or sum(t.numel() for t in kept) <= 64  # not the input
    weight = torch.randn(2, 64, 5, 7).to(dtype)
    (y * weight).sum().backward()
    plain = x.detach().double().requires_grad_()
    mean, var, scale, shift = (
        t.double()[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    expected = (plain - mean) / (var + norm.eps).sqrt() * scale + shift
    (expected * weight).sum().backward()
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(y.double(), expected, **tolerance)
    torch.testing.assert_close(x.grad.double(), plain.grad, **tolerance)
