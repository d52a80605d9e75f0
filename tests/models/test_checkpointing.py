"""Activation checkpointing: the same training step with less kept in memory."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from models.small import small_simformer
from weakshot_seg.models.checkpointing import checkpoint_blocks
from weakshot_seg.models.simformer import SimFormer

SWIN = {"embed_dim": 16, "depths": (2, 1, 1, 1), "num_heads": (1, 2, 2, 4), "drop_path_rate": 0.5}
BACKBONES = {"resnet10t": {}, "swin_tiny_patch4_window7_224": SWIN}


def make(name: str, checkpointing: bool, **options: object) -> SimFormer:
    return small_simformer(
        name, BACKBONES[name], dropout=0.3, num_layers=3, activation_checkpointing=checkpointing, **options
    )


def step(model: SimFormer) -> tuple[list[Tensor], int]:
    """Outputs and kept bytes of a training step; gradients lie in the model."""
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    model.train()
    torch.manual_seed(2)  # of dropout and stochastic depth
    kept: dict[int, int] = {}  # bytes by address

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(images)
    (output.class_logits.square().mean() + output.mask_logits.square().mean()).backward()
    return [output.class_logits, output.mask_logits, output.pixel_embeddings], sum(kept.values())


@pytest.mark.parametrize("masked_attention", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_same_outputs_gradients_and_statistics(name: str, masked_attention: bool) -> None:
    plain, lean = (make(name, checkpointing, masked_attention=masked_attention) for checkpointing in (False, True))
    assert plain.state_dict().keys() == lean.state_dict().keys()
    (expected, whole), (got, kept) = step(plain), step(lean)
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    for (key, ours), theirs in zip(lean.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
    for (key, ours), theirs in zip(lean.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(ours, theirs), key  # BatchNorm has counted the batch once
    assert kept < 0.6 * whole


def test_a_copy_recomputes_with_its_own_weights() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0))
    checkpoint_blocks(net)
    copy = deepcopy(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    copy[1](torch.randn(5, 1, 4)).square().sum().backward()
    assert all(p.grad is None for p in net.parameters())
    assert copy[1].linear1.weight.grad.abs().sum() > 0


def test_nothing_is_recomputed_without_gradients() -> None:
    model = make("resnet10t", True).train()
    calls = []
    model.query_decoder.layers[0].linear1.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model(torch.zeros(2, 3, 32, 32))
    assert len(calls) == 1
    model(torch.zeros(2, 3, 32, 32)).class_logits.sum().backward()
    assert len(calls) == 3
