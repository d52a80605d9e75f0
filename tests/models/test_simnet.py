"""SimNet on points equals SimNet on explicit, concatenated pairs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.simnet import SimNet


def explicit_forward(net: SimNet, pairs: Tensor) -> Tensor:
    """Method section 2 on concatenated pairs ``[n, 2C]``."""

    def norm(layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, nn.Identity):
            return x
        assert isinstance(layer, nn.BatchNorm2d)
        if net.training:  # over all pairs, biased variance
            mean, variance = x.mean(0), x.var(0, unbiased=False)
        else:
            mean, variance = layer.running_mean, layer.running_var
        return (x - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias

    x = pairs
    for block in net.blocks:
        hidden = F.relu(norm(block.norm1, x @ block.linear1.weight.T + block.linear1.bias))
        hidden = F.relu(norm(block.norm2, hidden @ block.linear2.weight.T + block.linear2.bias))
        skip = x if block.skip is None else F.relu(x @ block.skip.weight.T + block.skip.bias)
        x = hidden + skip
    return x @ net.head.weight.T + net.head.bias


def all_pairs(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack([torch.cat([a, b]) for f, s in zip(first, second, strict=True) for a in f for b in s])


def randomise(net: SimNet) -> SimNet:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight, module.bias):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("hidden", [5, 6])  # 6 = 2C: no squeeze in the first block
def test_points_equal_concatenated_pairs(training: bool, batch_norm: bool, hidden: int) -> None:
    net = randomise(SimNet(3, hidden, 3, batch_norm)).double().train(training)
    assert (net.blocks[0].skip is None) == (hidden == 6)
    assert all(block.skip is None for block in net.blocks[1:])
    first = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    second = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    logits = net(first, second)
    assert logits.shape == (2, 4, 7, 2)
    plain = explicit_forward(net, all_pairs(first, second)).view(2, 4, 7, 2)
    torch.testing.assert_close(logits, plain)
    weight = torch.randn_like(plain)
    leaves = [first, second, *net.parameters()]
    ours = torch.autograd.grad((logits * weight).sum(), leaves)
    for got, expected in zip(ours, torch.autograd.grad((plain * weight).sum(), leaves), strict=True):
        torch.testing.assert_close(got, expected)
