"""The timm backbone: strides, layouts, frozen norms, local weights, and errors that help."""

import math
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import timm
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import save_file
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.feature_extraction import create_feature_extractor

from weakshot_seg.config.compose import conf_dir
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


def test_channels_last_networks_are_turned_even_when_height_equals_channels() -> None:
    backbone = TimmBackbone("swin_tiny_patch4_window7_224", **TINY_SWIN).eval()
    picture = image(128, 128)  # stride 4: 32 x 32 pixels of 32 channels
    with torch.no_grad():
        torch.testing.assert_close(backbone(picture)[0], backbone.net(picture)[0].permute(0, 3, 1, 2))


def test_simple_pyramid_covers_sizes_that_are_no_multiple() -> None:
    pyramid = SimpleFeaturePyramid(16)
    levels = pyramid(torch.randn(2, 16, 5, 6), (70, 90))
    assert [tuple(x.shape) for x in levels] == [(2, 4, 18, 23), (2, 8, 9, 12), (2, 16, 5, 6), (2, 16, 3, 3)]


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_frozen_norm_keeps_statistics_and_affine_through_training(name: str) -> None:
    backbone = TimmBackbone(name, freeze_norm=True).train()
    norms = nn.ModuleList(m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d))
    before = {key: value.clone() for key, value in norms.state_dict().items()}
    optimizer = torch.optim.SGD(backbone.parameters(), lr=0.1)
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    assert norms
    assert not any(m.training for m in norms)
    torch.testing.assert_close(dict(norms.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)
    assert backbone.train().training  # the network itself does train


@pytest.mark.parametrize(("suffix", "write"), [("safetensors", save_file), ("pth", torch.save)])
@pytest.mark.parametrize("name", FAMILIES)
def test_local_weights_of_the_same_timm_model(
    name: str, suffix: str, write: Callable[..., None], tmp_path: Path
) -> None:
    whole, path = timm.create_model(name, **FAMILIES[name]), tmp_path / f"weights.{suffix}"
    write(whole.state_dict(), path)
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
def test_the_network_is_built_once(local: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    with mock.patch.object(ResNet, "__init__", autospec=True, side_effect=ResNet.__init__) as built:
        TimmBackbone("resnet10t", checkpoint=str(path) if local else None)
    assert built.call_count == 1


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'resnet5O'.*did you mean.*resnet50"):
        TimmBackbone("resnet5O")
    with pytest.raises(ConfigError, match="no_such_option"):
        TimmBackbone("resnet18", no_such_option=1)


@pytest.mark.parametrize("name", ["test_coatnet", "levit_128s", "crossvit_tiny_240"])
def test_networks_made_for_one_size_are_refused_by_name(name: str) -> None:
    """The last one shrinks every image to its own size."""
    with pytest.raises(
        ConfigError, match=rf"{name} takes images of one size alone \(.*use a network .* such as"
    ) as caught:
        TimmBackbone(name)
    TimmBackbone(str(caught.value).split("model.backbone.name=")[-1].split()[0])


@pytest.mark.parametrize(("name", "options"), [("test_maxvit", {}), ("beit_base_patch16_224", {"depth": 3})])
def test_networks_made_for_one_size_take_smaller_images_padded(name: str, options: dict[str, object]) -> None:
    backbone = TimmBackbone(name, img_size=64, **options).eval()
    small = image(40, 61)
    padded = torch.zeros(1, 3, 64, 64)
    padded[:, :, :40, :61] = small
    with torch.no_grad():
        for level, whole, stride in zip(backbone(small), backbone(padded), (4, 8, 16, 32), strict=True):
            torch.testing.assert_close(level, whole[:, :, : math.ceil(40 / stride), : math.ceil(61 / stride)])
    with pytest.raises(ConfigError, match=r"at most 64 x 64 pixels, not an image of 64 x 65: set .*crop_size=64"):
        backbone(image(64, 65))


@pytest.mark.parametrize("name", ["dla34", "hrnet_w18_small"])
def test_networks_that_take_multiples_of_32(name: str) -> None:
    with torch.no_grad():
        levels = TimmBackbone(name).eval()(image(70, 101))
    assert [tuple(level.shape[2:]) for level in levels] == [(18, 26), (9, 13), (5, 7), (3, 4)]


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = timm.create_model("resnet10t").state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, path)
    with pytest.raises(
        ConfigError, match=r"weights\.pth holds NaN or infinite values \(layer2\.0\.conv1\.weight, .*; 1 of"
    ):
        TimmBackbone("resnet10t", checkpoint=str(path))


def test_normalisation_follows_the_weights() -> None:
    backbone = TimmBackbone("vit_tiny_patch16_224", **TINY_VIT)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.4, 0.2]).view(3, 1, 1)
    pixels = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    plain = (pixels.double() / 255 - mean.double()) / std.double()
    for given in (pixels, pixels.float()):
        torch.testing.assert_close(normalise(given, mean, std).double(), plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(34, 50), (96, 30)])
def test_same_padding_is_that_of_timm(size: tuple[int, int]) -> None:
    ours = TimmBackbone("tf_efficientnet_lite0").eval()
    theirs = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    assert any(type(module) is SameConv2d for module in ours.modules())
    theirs.load_state_dict(ours.net.state_dict())
    images = torch.randn(2, 3, *size)
    torch.testing.assert_close(ours(images), theirs(images)[1:])


@torch.no_grad()
def test_the_papers_backbone_is_torchvisions() -> None:
    """ResNet-50 with frozen BatchNorm, as both experiments make it but without the download.

    Also with statistics and affine parameters that are not those of a new network.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        both = [compose("train", [f"experiment={name}", "data.root=DIR"]) for name in ("coco", "ade20k")]
    coco, ade20k = (composed.model.backbone for composed in both)
    assert coco == ade20k
    assert (coco.pretrained, coco.name) == (True, "resnet50.tv_in1k")
    backbone = instantiate(coco, pretrained=False)
    assert sum(p.requires_grad for p in backbone.parameters()) == 53  # all convolutions, also the stem
    theirs = resnet50()
    for name, tensor in theirs.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.2)
    weights = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    backbone.net.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 96)
    levels = create_feature_extractor(theirs.eval(), ["layer1", "layer2", "layer3", "layer4"])(images)
    for got, expected in zip(backbone.train()(images), levels.values(), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * expected.std().item())
