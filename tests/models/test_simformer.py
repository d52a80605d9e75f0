"""The assembled network and its decoders against formulas."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.pixel_decoder import FPNPixelDecoder
from weakshot_seg.models.simformer import ProposalHead, SimFormer


@pytest.fixture(scope="module")
def build() -> Callable[..., SimFormer]:
    def make(name: str = "mobilenetv3_small_100", **options: object) -> SimFormer:
        torch.manual_seed(1)
        small = {"dim": 16, "pixel_dim": 32, "embedding_dim": 8, "num_layers": 2, "num_heads": 4, "ffn_dim": 24}
        swin = {"embed_dim": 32, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)} if "swin" in name else {}
        return SimFormer(5, TimmBackbone(name, **swin), **{"num_queries": 7, **small, **options}).eval()

    return make


def pixels(*size: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)


@pytest.mark.parametrize(("size", "memory_stride"), [((64, 96), 4), ((65, 71), 8), ((33, 40), 16), ((65, 71), 32)])
def test_output_shapes(size: tuple[int, int], memory_stride: int, build: Callable[..., SimFormer]) -> None:
    output = build(memory_stride=memory_stride)(pixels(*size))
    height, width = math.ceil(size[0] / 4), math.ceil(size[1] / 4)
    assert output.class_logits.shape == (2, 2, 7, 6)
    assert output.mask_logits.shape == (2, 2, 7, height, width)
    assert output.pixel_embeddings.shape == (2, 8, height, width)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "convnext_atto"])
@pytest.mark.parametrize("size", [(64, 96), (65, 71)])
def test_other_families(size: tuple[int, int], name: str, build: Callable[..., SimFormer]) -> None:
    output = build(name)(pixels(*size))
    assert output.mask_logits.shape == (2, 2, 7, math.ceil(size[0] / 4), math.ceil(size[1] / 4))


def test_mask_logits_are_proposal_pixel_similarity(build: Callable[..., SimFormer]) -> None:
    model = build()
    heads: list[tuple[Tensor, Tensor]] = []
    model.head.register_forward_hook(lambda module, args, result: heads.append(result))
    output = model(pixels(64, 64))
    class_logits, mask_embeddings = heads[0]
    assert torch.equal(output.class_logits, class_logits)
    expected = torch.einsum("lbqc,bchw->lbqhw", mask_embeddings, output.pixel_embeddings)
    torch.testing.assert_close(output.mask_logits, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same_numbers(build: Callable[..., SimFormer]) -> None:
    model, images = build(), pixels(64, 96)
    plain = model(images)
    turned = build().to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    for name in ("class_logits", "mask_logits", "pixel_embeddings"):
        torch.testing.assert_close(getattr(turned, name), getattr(plain, name), rtol=1e-3, atol=1e-4)


def test_the_last_layer_alone(build: Callable[..., SimFormer]) -> None:
    model, images = build(num_layers=3), pixels(32, 48)
    whole, last = model(images), model(images, last_only=True)
    assert len(whole.class_logits) == 3
    assert last.mask_logits.shape == (1, 2, 7, 8, 12)
    torch.testing.assert_close(last.class_logits[0], whole.class_logits[2])
    torch.testing.assert_close(last.mask_logits[0], whole.mask_logits[2])


def test_every_parameter_that_should_learn_gets_a_gradient(build: Callable[..., SimFormer]) -> None:
    model = build(memory_stride=32).train()
    output = model(pixels(64, 64))
    (output.class_logits.square().mean() + output.mask_logits.square().mean()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_normalisation_is_not_part_of_the_weights(build: Callable[..., SimFormer]) -> None:
    assert not {"mean", "std"} & set(build().state_dict())


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


def test_masked_attention_is_used_and_trained(build: Callable[..., SimFormer]) -> None:
    model = build(masked_attention=True).train()
    output = model(pixels(64, 96))
    assert output.mask_logits.shape == (3, 2, 7, 16, 24)
    output.class_logits.sum().backward()
    assert model.query_decoder.features.weight.grad is not None
