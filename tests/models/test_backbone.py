"""The timm backbone: strides, layouts, frozen norms, local weights, and errors that help."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.resnet import ResNet
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.models.backbone import SameConv2d, SimpleFeaturePyramid, TimmBackbone, normalise

TINY_SWIN = {"embed_dim": 32, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}
TINY_VIT = {"depth": 3}
FAMILIES: dict[str, dict[str, object]] = {
    "mobilenetv3_small_100": {},
    "resnet18": {},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "swin_tiny_patch4_window7_224": TINY_SWIN,
    "vit_tiny_patch16_224": TINY_VIT,
}


def image(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
def test_four_strides(name: str, size: tuple[int, int]) -> None:
    backbone = TimmBackbone(name, **FAMILIES[name]).eval()
    with torch.no_grad():
        levels = backbone(image(*size))
    assert len(levels) == len(backbone.channels) == 4
    for level, stride, channels in zip(levels, (4, 8, 16, 32), backbone.channels, strict=True):
        assert level.shape == (1, channels, size[0] // stride, size[1] // stride)
        assert level.isfinite().all()


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "resnet18", "convnext_atto"])
def test_convolutional_networks_take_odd_sizes(name: str) -> None:
    levels = TimmBackbone(name, **FAMILIES[name]).eval()(image(75, 91))
    heights = [level.shape[2] for level in levels]
    assert heights == sorted(heights, reverse=True)
    assert abs(heights[0] - 75 / 4) <= 1


def test_channels_last_networks_are_turned_even_when_height_equals_channels() -> None:
    backbone = TimmBackbone("swin_tiny_patch4_window7_224", **TINY_SWIN).eval()
    picture = image(128, 128)  # stride 4: 32 x 32 pixels of 32 channels
    with torch.no_grad():
        torch.testing.assert_close(backbone(picture)[0], backbone.net(picture)[0].permute(0, 3, 1, 2))


def test_levels_are_the_deepest_feature_of_each_stride() -> None:
    backbone = TimmBackbone("resnet18").eval()
    picture = image(64, 64)
    net = timm.create_model("resnet18").eval()
    net.load_state_dict(backbone.net.state_dict(), strict=False)
    with torch.no_grad():
        stages = net.forward_intermediates(picture, intermediates_only=True)[1:]
        for level, stage in zip(backbone(picture), stages, strict=True):
            torch.testing.assert_close(level, stage)


def test_simple_pyramid_covers_sizes_that_are_no_multiple() -> None:
    pyramid = SimpleFeaturePyramid(16)
    levels = pyramid(torch.randn(2, 16, 5, 6), (70, 90))
    assert [tuple(x.shape) for x in levels] == [(2, 4, 18, 23), (2, 8, 9, 12), (2, 16, 5, 6), (2, 16, 3, 3)]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_frozen_norm_keeps_statistics_and_affine_through_training(name: str) -> None:
    backbone = TimmBackbone(name, freeze_norm=True).train()
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    before = [(m.running_mean.clone(), m.running_var.clone(), m.weight.clone()) for m in norms]
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    first = backbone(torch.randn(2, 3, 64, 64))
    sum(level.square().mean() for level in first).backward()
    optimizer.step()
    assert all(not m.training and m.weight.grad is None and m.bias.grad is None for m in norms)
    for norm, kept in zip(norms, before, strict=True):
        for now, then in zip((norm.running_mean, norm.running_var, norm.weight), kept, strict=True):
            assert torch.equal(now, then)
    others = [p for p in backbone.parameters() if p.dim() == 4]
    assert all(p.grad is not None for p in others if p.requires_grad)
    assert backbone.train().training  # the network itself does train


def write_safetensors(state: dict[str, Tensor], path: Path) -> Path:
    save_file(state, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def write_pth(state: dict[str, Tensor], path: Path) -> Path:
    torch.save(state, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


@pytest.mark.parametrize("write", [write_safetensors, write_pth])
@pytest.mark.parametrize("name", FAMILIES)
def test_local_weights_of_the_same_timm_model(
    name: str, write: Callable[[dict[str, Tensor], Path], Path], tmp_path: Path
) -> None:
    whole = timm.create_model(name, **FAMILIES[name])
    path = write(whole.state_dict(), tmp_path / "weights")
    backbone = TimmBackbone(name, checkpoint=str(path), **FAMILIES[name])
    given = [(tuple(v.shape), v.double().sum().item()) for v in whole.state_dict().values()]
    for key, value in backbone.net.state_dict().items():
        assert (tuple(value.shape), value.contiguous().double().sum().item()) in given, key


@pytest.mark.parametrize("fault", ["missing file", "other model", "not a checkpoint"])
def test_weights_that_do_not_fit_are_refused(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    if fault == "other model":
        save_file(timm.create_model("mobilenetv3_small_100").state_dict(), path)
    elif fault == "not a checkpoint":
        path.write_bytes(b"hello")
    with pytest.raises(ConfigError, match=r"weights\.safetensors"):
        TimmBackbone("resnet18", checkpoint=str(path))


LACKING = {  # the second to last have the values that a new network has
    "half": ("resnet18", "layer4."),
    "BatchNorm": ("resnet18", "bn1."),
    "statistics": ("resnet18", "running_"),
    "one bias": ("resnet18", "layer2.0.bn2.bias"),
    "gammas": ("convnext_atto", ".gamma"),
    "LayerNorms": ("swin_tiny_patch4_window7_224", ".norm1."),
}


@pytest.mark.parametrize("what", LACKING)
def test_weights_that_lack_tensors_are_refused(what: str, tmp_path: Path) -> None:
    name, part = LACKING[what]
    path = tmp_path / "weights.safetensors"
    whole = timm.create_model(name, **FAMILIES[name]).state_dict()
    save_file({key: value for key, value in whole.items() if part not in key}, path)
    with pytest.raises(ConfigError, match=rf"lacks \d+ tensors of {name} \(\S*{part}"):
        TimmBackbone(name, checkpoint=str(path), **FAMILIES[name])


@pytest.mark.parametrize("local", [False, True])
def test_the_network_is_built_once(local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    built, build = [], ResNet.__init__

    def counted(net: ResNet, *args: object, **options: object) -> None:
        build(net, *args, **options)
        built.append(net)

    monkeypatch.setattr(ResNet, "__init__", counted)
    TimmBackbone("resnet10t", checkpoint=str(path) if local else None)
    assert len(built) == 1


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"'resnet5O'.*did you mean.*resnet50"):
        TimmBackbone("resnet5O")


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no_such_option"):
        TimmBackbone("resnet18", no_such_option=1)


def test_normalisation_follows_the_weights() -> None:
    backbone = TimmBackbone("vit_tiny_patch16_224", **TINY_VIT)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.4, 0.2]).view(3, 1, 1)
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    normal = normalise(pixels, mean, std)
    for channel in range(3):
        plain = (pixels[:, channel].double() / 255 - mean[channel].double()) / std[channel].double()
        torch.testing.assert_close(normal[:, channel].double(), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(normalise(pixels.float(), mean, std), normal)


@pytest.mark.parametrize("size", [(34, 50), (96, 30)])
def test_same_padding_is_that_of_timm(size: tuple[int, int]) -> None:
    ours = TimmBackbone("tf_efficientnet_lite0").eval()
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    assert any(type(module) is SameConv2d for module in ours.modules())
    theirs.load_state_dict(ours.net.state_dict())
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        pairs = list(zip(ours(images), theirs(images)[1:], strict=True))
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)
