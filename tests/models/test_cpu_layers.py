"""Linear and Dropout as they are trained on CPUs, against PyTorch's own."""

import math

import pytest
import torch
from torch import Tensor, nn

from weakshot_seg.models.cpu_layers import Dropout, Linear, MultiheadAttention


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 4, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = Linear(7, 11, bias=bias).double()
    x = torch.randn(shape, dtype=torch.float64)

    def run(forward: type[nn.Linear]) -> tuple[Tensor, ...]:
        inputs = x.clone().requires_grad_()
        y = forward.forward(layer, inputs)
        return y, *torch.autograd.grad(y.square().sum(), (inputs, *layer.parameters()))

    for ours, theirs in zip(run(Linear), run(nn.Linear), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(layer.eval()(x), nn.Linear.forward(layer, x))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.97])
def test_dropout_drops_by_chance_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.full((101, 1003), 2.0, requires_grad=True)
    y = Dropout(p)(x)
    count = x.numel()
    dropped = (y == 0).float()
    assert dropped.mean().item() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / count))
    torch.testing.assert_close(y, (1 - dropped) * 2 / (1 - p), rtol=1e-4 / (1 - p), atol=0)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], y.detach() / 2)
    # neighbours come from one number of 64 bits: they must not know of each other
    for step in (1, 2, 3, 4, 1003):
        both = (dropped.flatten()[step:] * dropped.flatten()[:-step]).mean().item()
        assert both == pytest.approx(p * p, abs=4 * p / math.sqrt(count))


def test_dropout_is_drawn_anew_and_by_the_seed() -> None:
    x = torch.ones(3, 5)
    layer = Dropout(0.5)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize(("p", "expected"), [(0.0, 1.0), (1e-9, 1.0), (1.0, 0.0)])
def test_dropout_of_nothing_and_of_all(p: float, expected: float) -> None:
    assert torch.equal(Dropout(p)(torch.ones(40)), torch.full((40,), expected))


@pytest.mark.parametrize("masked", [False, True])
def test_attention(masked: bool) -> None:
    torch.manual_seed(0)
    layer = MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        layer.in_proj_bias.normal_()
        layer.out_proj.bias.normal_()
    query, key, value = (torch.randn(2, n, 12, dtype=torch.float64) for n in (5, 7, 7))
    mask = torch.rand(6, 5, 7) < 0.5 if masked else None
    if mask is not None:
        mask[..., 0] = False

    def run(forward: type[nn.MultiheadAttention]) -> tuple[Tensor, ...]:
        inputs = [x.clone().requires_grad_() for x in (query, key, value)]
        y, weights = forward.forward(layer, *inputs, need_weights=False, attn_mask=mask)
        assert weights is None
        return y, *torch.autograd.grad(y.square().sum(), (*inputs, *layer.parameters()))

    for ours, theirs in zip(run(MultiheadAttention), run(nn.MultiheadAttention), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_drops_its_weights() -> None:
    """Of equal weights and values of one each: the attended value is the share that is kept, divided by 1 - p."""
    torch.manual_seed(0)
    layer = MultiheadAttention(4, 2, dropout=0.3, batch_first=True)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.in_proj_bias[8:] = 1  # of the values
        layer.out_proj.weight.copy_(torch.eye(4))
    attended = layer(torch.randn(50, 20, 4), torch.randn(50, 40, 4), torch.randn(50, 40, 4), need_weights=False)[0]
    assert attended.mean().item() == pytest.approx(1, abs=0.01)
    expected = math.sqrt(0.3 / 0.7 / 40)
    assert attended.std().item() == pytest.approx(expected, rel=0.05)
    assert torch.equal(layer.eval()(*[torch.randn(2, 3, 4)] * 3)[0], torch.ones(2, 3, 4))
