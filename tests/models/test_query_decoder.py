"""The transformer decoders and their position embedding against plain loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.query_decoder import QueryDecoder, sine_position_embedding


@pytest.mark.parametrize(("height", "width", "dim"), [(1, 1, 4), (3, 5, 8), (7, 2, 32)])
def test_position_embedding_equals_a_plain_loop(height: int, width: int, dim: int) -> None:
    embedding = sine_position_embedding(height, width, dim)
    assert embedding.shape == (dim, height, width)
    assert embedding.dtype == torch.float32
    half = dim // 2
    for c in range(dim):
        for y in range(height):
            for x in range(width):
                place = (y + 1) / (height + 1e-6) if c < half else (x + 1) / (width + 1e-6)
                k = c % half
                angle = place * 2 * math.pi / 10000 ** (2 * (k // 2) / half)
                expected = math.sin(angle) if k % 2 == 0 else math.cos(angle)
                assert embedding[c, y, x].item() == pytest.approx(expected, abs=2e-6)


def attention(layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One image, head by head."""
    dim = query.shape[-1]
    weights, biases = layer.in_proj_weight.split(dim), layer.in_proj_bias.split(dim)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, key, value), weights, biases, strict=True))
    size = dim // layer.num_heads
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * size, (h + 1) * size)
        heads.append((q[:, part] @ k[:, part].T / math.sqrt(size)).softmax(-1) @ v[:, part])
    return torch.cat(heads, -1) @ layer.out_proj.weight.T + layer.out_proj.bias


@pytest.mark.parametrize("masked", [False, True])
def test_decoders_equal_plain_loops(masked: bool) -> None:
    """DETR's, and Mask2Former's that attends within its own masks."""
    decoder = QueryDecoder(5, 3, 8, num_layers=2, num_heads=2, ffn_dim=12, dropout=0.5, masked=masked).eval()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    head = nn.Linear(8, 6)
    feature, pixels = torch.randn(2, 5, 3, 4), torch.randn(2, 6, 3, 4)
    channel = torch.arange(6)[:, None, None]
    pixels[1] = torch.where(channel == 0, -10.0, 0.0)  # with the bias: masks all empty or all full
    outputs = decoder(feature, pixels, head)
    assert outputs.shape == (2 + masked, 2, 3, 8)
    if masked:
        torch.testing.assert_close(outputs[0], decoder.norm(decoder.features.weight).expand(2, -1, -1))
    for image in range(2):
        memory = (decoder.project.weight.flatten(1) @ feature[image].flatten(1)).T + decoder.project.bias
        keys = memory + sine_position_embedding(3, 4, 8).flatten(1).T
        place = decoder.queries.weight
        target = decoder.features.weight if masked else torch.zeros(3, 8)
        for number, layer in enumerate(decoder.layers):
            inside = torch.ones(3, 12, dtype=torch.bool)
            if masked:
                inside = head(decoder.norm(target)) @ pixels[image].flatten(1) >= 0
                inside |= ~inside.any(1, keepdim=True)
            query = target + place
            target = layer.norm1(target + attention(layer.self_attention, query, query, target))
            rows = [
                attention(layer.cross_attention, row[None], keys[seen], memory[seen])
                for row, seen in zip(target + place, inside, strict=True)
            ]
            target = layer.norm2(target + torch.cat(rows))
            target = layer.norm3(target + layer.linear2(F.relu(layer.linear1(target))))
            torch.testing.assert_close(outputs[number + masked, image], decoder.norm(target), rtol=1e-4, atol=1e-5)


def test_dropout_acts_in_training_only() -> None:
    decoder = QueryDecoder(3, 4, 8, 1, 2, 12, dropout=0.5)
    inputs = torch.randn(1, 3, 2, 2), torch.empty(0), nn.Identity()
    assert not torch.equal(decoder.train()(*inputs), decoder(*inputs))
    assert torch.equal(decoder.eval()(*inputs), decoder(*inputs))
