"""The assembled network and its decoders against formulas, as written and compiled."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from models.small import SWIN, small_simformer
from weakshot_seg.errors import ConfigError
from weakshot_seg.models.pixel_decoder import FPNPixelDecoder
from weakshot_seg.models.simformer import ProposalHead


def pixels(*size: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((64, 96), {"memory_stride": 4}),
        ((65, 71), {"memory_stride": 8}),
        ((33, 40), {"memory_stride": 16, "memory": "pixel_decoder"}),
        ((65, 71), {"name": "mobilenetv3_small_100"}),
        ((64, 96), {"name": "swin_tiny_patch4_window7_224", "backbone": SWIN}),
        ((65, 71), {"name": "swin_tiny_patch4_window7_224", "backbone": SWIN}),
        ((65, 71), {"name": "vit_tiny_patch16_224", "backbone": {"depth": 3}}),
        ((65, 71), {"name": "convnext_atto"}),
    ],
)
def test_output_shapes(size: tuple[int, int], options: dict[str, Any]) -> None:
    output = small_simformer(**options)(pixels(*size))
    height, width = math.ceil(size[0] / 4), math.ceil(size[1] / 4)
    assert output.class_logits.shape == (2, 2, 7, 6)
    assert output.mask_logits.shape == (2, 2, 7, height, width)
    assert output.pixel_embeddings.shape == (2, 8, height, width)


def test_mask_logits_are_proposal_pixel_similarity() -> None:
    model = small_simformer()
    heads: list[tuple[Tensor, Tensor]] = []
    model.head.register_forward_hook(lambda module, args, result: heads.append(result))
    output = model(pixels(64, 64))
    class_logits, mask_embeddings = heads[0]
    assert torch.equal(output.class_logits, class_logits)
    expected = torch.einsum("lbqc,bchw->lbqhw", mask_embeddings, output.pixel_embeddings)
    torch.testing.assert_close(output.mask_logits, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same_numbers() -> None:
    model, images = small_simformer(), pixels(64, 96)
    plain = model(images)
    turned = small_simformer().to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for name in ("class_logits", "mask_logits", "pixel_embeddings"):
        torch.testing.assert_close(getattr(turned, name), getattr(plain, name), rtol=1e-3, atol=1e-4)


def test_the_last_layer_alone() -> None:
    model, images = small_simformer(num_layers=3), pixels(32, 48)
    whole, last = model(images), model(images, last_only=True)
    assert len(whole.class_logits) == 3
    assert last.mask_logits.shape == (1, 2, 7, 8, 12)
    torch.testing.assert_close(last.class_logits[0], whole.class_logits[2])
    torch.testing.assert_close(last.mask_logits[0], whole.mask_logits[2])


def test_every_parameter_that_should_learn_gets_a_gradient() -> None:
    model = small_simformer().train()
    assert not {"mean", "std"} & set(model.state_dict())
    output = model(pixels(64, 64))
    (output.class_logits.square().mean() + output.mask_logits.square().mean()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_pixel_decoder_is_an_fpn() -> None:
    decoder = FPNPixelDecoder([3, 5, 6, 7], dim=8, embedding_dim=4, groups=2)
    features = [torch.randn(2, c, *s) for c, s in zip([3, 5, 6, 7], [(17, 21), (9, 11), (5, 6), (3, 3)], strict=True)]

    def conv_norm(part: nn.Sequential, x: Tensor) -> Tensor:
        conv, norm = part
        x = F.conv2d(x, conv.weight, padding=conv.weight.shape[-1] // 2)
        return F.group_norm(x, 2, norm.weight, norm.bias)

    level = F.relu(conv_norm(decoder.top, features[3]))
    expected = [level]
    for i in (2, 1, 0):
        lateral = conv_norm(decoder.laterals[i], features[i])
        height, width = lateral.shape[-2:]
        rows = torch.arange(height) * level.shape[2] // height
        columns = torch.arange(width) * level.shape[3] // width
        level = F.relu(conv_norm(decoder.outputs[i], lateral + level[:, :, rows][:, :, :, columns]))
        expected.insert(0, level)
    embeddings, levels = decoder(features)
    for got, plain in zip(levels, expected, strict=True):
        torch.testing.assert_close(got, plain)
    torch.testing.assert_close(embeddings, F.conv2d(level, decoder.embed.weight, decoder.embed.bias, padding=1))


def test_head_is_a_linear_classifier_and_a_three_layer_mlp() -> None:
    head = ProposalHead(6, 4, 3)
    proposals = torch.randn(2, 5, 6)
    class_logits, embeddings = head(proposals)
    assert class_logits.shape == (2, 5, 5)
    first, second, third = head.mask_embed
    torch.testing.assert_close(embeddings, third(F.relu(second(F.relu(first(proposals))))))


def test_masked_attention_is_used_and_trained() -> None:
    model = small_simformer(masked_attention=True).train()
    output = model(pixels(64, 96))
    assert output.mask_logits.shape == (3, 2, 7, 16, 24)
    output.class_logits.sum().backward()
    assert model.query_decoder.features.weight.grad is not None


def test_parts_are_whole_graphs_and_give_the_same_step() -> None:
    torch.compiler.reset()
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    plain, compiled = (small_simformer(dropout=0.0, compile=which).train() for which in (None, backend))
    assert plain.state_dict().keys() == compiled.state_dict().keys()
    outputs = [model(images) for model in (plain, compiled)]
    assert len(graphs) == 4  # backbone, pixel decoder, query decoder, heads: none is cut in pieces
    for output in outputs:
        (output.class_logits.square().mean() + output.mask_logits.square().mean()).backward()
    torch.testing.assert_close(outputs[1].mask_logits, outputs[0].mask_logits)
    torch.testing.assert_close(outputs[1].class_logits, outputs[0].class_logits)
    for (key, ours), theirs in zip(compiled.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs[1].grad, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": "inductr"}, r"model.compile='inductr': choose one of .*inductor"),
        ({"compile": "eager", "activation_checkpointing": True}, "exclude each other"),
    ],
)
def test_settings_of_the_compiler_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small_simformer(**options)
