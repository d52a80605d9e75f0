"""Any timm backbone as features at strides 4, 8, 16 and 32. The only file that knows timm."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.format import Format
from timm.models import FeatureInfo
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from weakshot_seg.errors import ConfigError
from weakshot_seg.models.norms import FrozenBatchNorm2d, GroupNorm
from weakshot_seg.utils.files import check_zip

STRIDES = (4, 8, 16, 32)
ODD = (101, 139)  # a size that no network is made for
SIMILAR = {  # millions of parameters of networks that take any size, with attention or its likes
    "pvt_v2_b0": 3,
    "edgenext_small": 6,
    "pvt_v2_b1": 14,
    "convnext_tiny": 29,
    "swin_small_patch4_window7_224": 50,
    "swin_base_patch4_window7_224": 88,
    "swin_large_patch4_window7_224": 197,
}


class TimmBackbone(nn.Module):
    """A timm network (CNN, Swin, ConvNeXt, plain ViT, ...) giving a feature pyramid.

    Args:
        name: timm model name, e.g. ``resnet50``.
        pretrained: download the timm weights.
        checkpoint: local weights (``.safetensors``, ``.pth``) of the same timm model, instead of a download.
        freeze_norm: fix statistics and affine parameters of BatchNorm, as the paper does (section 8 of the method).
        norm_outputs: a LayerNorm on each of the four levels, as MaskFormer has with Swin.
        **timm_options: passed on to ``timm.create_model`` (``drop_path_rate``, ``output_stride``, ...). With
            ``img_size`` a network that is made for one size takes images up to that one, which are padded.

    Attributes:
        channels: channels of the four levels.
        largest: height and width above which images are refused, of a network made for one size; else None.
        mean, std: normalisation the weights expect, for images in 0..1.

    Raises:
        ConfigError: unknown name, weights that do not fit, a download that failed, or a network made for one size.
    """

    def __init__(
        self,
        name: str = "resnet50",
        pretrained: bool = False,
        checkpoint: str | None = None,
        freeze_norm: bool = False,
        norm_outputs: bool = False,
        **timm_options: Any,
    ) -> None:
        super().__init__()
        if not timm.is_model(name.split(".")[0]):
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise ConfigError(
                f"model.backbone.name={name!r} is no timm model" + (f"; did you mean {close}?" if close else "")
            )
        self.net = _from_file(name, checkpoint, timm_options) if checkpoint else _create(name, pretrained, timm_options)
        self.net.to(memory_format=torch.channels_last)  # fastest on GPUs and for depthwise convolutions
        for module in self.net.modules():
            if type(module) is SwinTransformerBlock:
                module.__class__ = PaddedSwinBlock
            elif type(module) is Conv2dSame:
                module.__class__ = SameConv2d
        info = cast(FeatureInfo, self.net.feature_info)
        reductions, channels = info.reduction(), info.channels()
        if set(STRIDES) <= set(reductions):
            # the last output of a stride is the deepest one
            self.levels = [len(reductions) - 1 - reductions[::-1].index(s) for s in STRIDES]
            self.channels = tuple(channels[i] for i in self.levels)
            self.pyramid: SimpleFeaturePyramid | None = None
        else:
            self.levels = [len(reductions) - 1]
            self.pyramid = SimpleFeaturePyramid(channels[-1])
            self.channels = self.pyramid.channels
        self.norms = nn.ModuleList(map(nn.LayerNorm, self.channels)) if norm_outputs else None
        self.crops = False  # levels to the size of the image before it was padded
        self.multiple = min(reductions)  # of the sizes that the network is given
        self.largest: tuple[int, int] | None = None
        self.channels_last_output = getattr(self.net, "output_fmt", None) == Format.NHWC  # Swin
        config = getattr(self.net, "pretrained_cfg", None) or {}
        self.mean = tuple(config.get("mean", (0.485, 0.456, 0.406)))
        self.std = tuple(config.get("std", (0.229, 0.224, 0.225)))
        self.freeze_norm = freeze_norm
        if freeze_norm:
            for module in self._batch_norms():
                module.requires_grad_(False)
                if type(module) is nn.BatchNorm2d:
                    module.__class__ = FrozenBatchNorm2d
            self.train(self.training)
        self._find_sizes(name, timm_options.get("img_size"))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images ``[B, 3, H, W]`` -> four levels ``[B, C_s, ~H/s, ~W/s]`` for s = 4, 8, 16, 32."""
        padded = self._padded(images)
        levels = self._features(padded)
        if self.pyramid is not None:
            levels = self.pyramid(levels[0], (padded if self.crops else images).shape[-2:])
        if self.crops:
            sizes = ([-(-length // stride) for length in images.shape[-2:]] for stride in STRIDES)
            levels = [level[:, :, :height, :width] for level, (height, width) in zip(levels, sizes, strict=True)]
        if self.norms is None:
            return levels
        pairs = zip(self.norms, levels, strict=True)
        return [norm(level.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, level in pairs]

    def _padded(self, images: Tensor) -> Tensor:
        if self.largest is None:
            down, right = (-size % self.multiple for size in images.shape[-2:])  # networks of patches take whole ones
        else:
            down, right = (most - size for most, size in zip(self.largest, images.shape[-2:], strict=True))
            if min(down, right) < 0:
                raise ConfigError(too_large(self.largest, f"an image of {images.shape[-2]} x {images.shape[-1]}"))
        return F.pad(images, (0, right, 0, down))

    def _features(self, images: Tensor) -> list[Tensor]:
        """The network's own levels ``[B, C, h, w]``."""
        features = self.net(images.contiguous(memory_format=torch.channels_last))
        levels = [features[i] for i in self.levels]
        return [level.permute(0, 3, 1, 2) for level in levels] if self.channels_last_output else levels

    def train(self, mode: bool = True) -> TimmBackbone:
        """Frozen BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.freeze_norm:
            for module in self._batch_norms():
                module.eval()
        return self

    def _find_sizes(self, name: str, img_size: int | Sequence[int] | None) -> None:
        """Tries what the network takes: any size, multiples of 32, or ``img_size`` alone; a ConfigError if nothing."""
        own = self.multiple
        for self.multiple in (own, max(STRIDES)):
            if self._takes(ODD):
                self.crops = self.multiple != own
                return
        self.crops = True
        if img_size:
            self.largest = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
            if self._takes(self.largest):
                return
        millions = sum(parameter.numel() for parameter in self.net.parameters()) / 1e6
        nearest = min(SIMILAR, key=lambda other: abs(math.log(SIMILAR[other] / millions)))
        raise ConfigError(
            f"model.backbone.name={name} takes images of one size alone{_made_for(self.net)}: use a network that takes "
            f"any, such as model.backbone.name={nearest} of about its size; or, if timm can make it for a size N, "
            "+model.backbone.img_size=N with crops and sliding windows of N"
        )

    def _takes(self, size: tuple[int, int]) -> bool:
        """Whether it can, and has about the strides it says: some shrink every image to the one size."""
        mode, strides = self.training, cast(FeatureInfo, self.net.feature_info).reduction()
        try:
            with torch.no_grad():
                levels = self.eval()._features(self._padded(torch.zeros(1, 3, *size)))
        except Exception:  # assertions, shapes that do not fit, ...
            return False
        finally:
            self.train(mode)
        for level, stride in zip(levels, (strides[i] for i in self.levels), strict=True):
            for got, length in zip(level.shape[2:], size, strict=True):
                if not 0.5 < got * stride / length < 2:
                    return False
        return True

    def _batch_norms(self) -> list[nn.Module]:
        return [m for m in self.net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


class PaddedSwinBlock(SwinTransformerBlock):
    """Swin's block for maps that its windows do not divide: padded first, then shifted, as Swin's authors do.

    timm shifts first; the mask then no longer parts what the shift brought together from opposite borders.
    """

    def _attn(self, x: Tensor) -> Tensor:
        """``[B, H, W, C]`` -> the same."""
        height, width = x.shape[1:3]
        # not -length % window, whose sum with length an export does not know to be whole windows
        pairs = zip((height, width), self.window_size, strict=True)
        down, right = ((length + window - 1) // window * window - length for length, window in pairs)
        padded = F.pad(x, (0, 0, 0, right, 0, down))
        return super()._attn(padded)[:, :height, :width].contiguous()


class SameConv2d(Conv2dSame):
    """TensorFlow's padding ("same") as timm computes it, but in integers: an export cannot simplify float divisions."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C', ceil(H/s), ceil(W/s)]``."""
        settings = zip(x.shape[-2:], self.kernel_size, self.stride, self.dilation, strict=True)
        down, right = (max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0) for size, k, s, d in settings)
        padded = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SimpleFeaturePyramid(nn.Module):
    """Strides 4, 8, 16 and 32 from the single level of a plain ViT (after ViTDet, arXiv 2203.16527)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        up = partial(nn.ConvTranspose2d, kernel_size=2, stride=2)
        self.channels = (dim // 4, dim // 2, dim, dim)
        finest = nn.Sequential(up(dim, dim // 2), GroupNorm(1, dim // 2), nn.GELU(), up(dim // 2, dim // 4))
        coarsest = nn.MaxPool2d(2, ceil_mode=True)
        self.branches = nn.ModuleList([finest, up(dim, dim // 2), nn.Identity(), coarsest])

    def forward(self, feature: Tensor, image_size: Sequence[int]) -> list[Tensor]:
        """``[B, dim, h, w]`` of any stride -> four levels of exactly ceil(size / stride)."""
        levels = []
        for branch, stride in zip(self.branches, STRIDES, strict=True):
            size = [-(-length // stride) for length in image_size]
            level = branch(feature)
            levels.append(level if list(level.shape[-2:]) == size else F.interpolate(level, size, mode="bilinear"))
        return levels


def _create(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Creates the network; transformers with the option to take any image size."""
    flexible: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"strict_img_size": False}, {}]
    for size_options in flexible:
        try:
            return timm.create_model(name, pretrained=pretrained, features_only=True, **size_options, **options)
        except TypeError:  # this family does not know the option
            continue
        except Exception as error:
            if not pretrained or "pretrained_cfg_overlay" in options:
                raise
            raise ConfigError(
                f"the weights of {name} could not be downloaded ({type(error).__name__}); "
                "give a local file with model.backbone.checkpoint=FILE or set model.backbone.pretrained=false"
            ) from error
    raise ConfigError(f"timm cannot make {name} with the options {options}")


def _from_file(name: str, checkpoint: str, options: dict[str, Any]) -> nn.Module:
    """Creates the network with local weights, complete or not at all."""
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise ConfigError(f"model.backbone.checkpoint={checkpoint}: no such file")
    try:
        check_zip(path)
        with _Filled() as filled:
            net = _create(name, True, {**options, "pretrained_cfg_overlay": {"file": str(path)}})
    except Exception as error:  # timm raises whatever the reader of the file's format raises
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.backbone.checkpoint={checkpoint} does not fit {name}: {reason}") from error
    # integers are counts of batches, which PyTorch supplies to old files itself
    tensors = {key: t for key, t in net.state_dict(keep_vars=True).items() if t.is_floating_point()}
    missing = [key for key, tensor in tensors.items() if id(tensor) not in filled.tensors]
    if missing:
        raise ConfigError(
            f"model.backbone.checkpoint={checkpoint} lacks {len(missing)} tensors of {name} ({missing[0]}, ...); "
            "give the weights of the same timm model"
        )
    if broken := [key for key, tensor in tensors.items() if not tensor.detach().isfinite().all()]:
        raise ConfigError(
            f"model.backbone.checkpoint={checkpoint} holds NaN or infinite values ({broken[0]}, ...; {len(broken)} of "
            f"{len(tensors)} tensors): its training went wrong, give another file"
        )
    return net


class _Filled(TorchFunctionMode):
    """Collects the tensors that something is copied into, as ``load_state_dict`` does with those a file contains.

    timm tolerates that a file lacks tensors and renames those it has: only the network's own tensors can be compared.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tensors: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.copy_:
            self.tensors[id(args[0])] = args[0]
        return func(*args, **(kwargs or {}))


def _made_for(net: nn.Module) -> str:
    size = (getattr(net, "pretrained_cfg", None) or {}).get("input_size")
    return f" ({size[1]} x {size[2]})" if size else ""


def too_large(most: tuple[int, int], what: str) -> str:
    """Why and how else; for networks made for one size."""
    return (
        f"model.backbone.img_size: this network takes at most {most[0]} x {most[1]} pixels, not {what}: set "
        f"data.train_transform.crop_size={min(most)}, inference=sliding and inference.window={min(most)}, or less"
    )


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images 0..255 (uint8 or float) ``[B, 3, H, W]`` -> float, by ``mean`` and ``std`` ``[3, 1, 1]`` in 0..1."""
    return (images.to(mean.dtype) / 255 - mean) / std
