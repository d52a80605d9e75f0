"""GroupNorm with channels last."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.models.norms import GroupNorm


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
