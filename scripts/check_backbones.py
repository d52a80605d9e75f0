"""Which families of timm's networks serve as backbones: each with random weights, on an image of odd size.

    python scripts/check_backbones.py [NAME ...]

A line each: the name, and ``works`` or why it is refused; another exception is a fault of ours, and the exit code is 1.
"""

import sys
import time

import torch

from weakshot_seg.errors import ConfigError
from weakshot_seg.models.backbone import STRIDES, TimmBackbone
from weakshot_seg.training.trainer import silence_libraries

FAMILIES = (
    "beit_base_patch16_224 botnet26t_256 byobnet:gernet_s cait_xxs24_224 coat_lite_tiny convit_tiny convmixer_768_32 "
    "convnext_atto convnextv2_atto crossvit_tiny_240 cs3darknet_s cspresnet50 davit_tiny deit_tiny_patch16_224 "
    "deit3_small_patch16_224 densenet121 dla34 dpn68 edgenext_xx_small efficientformer_l1 efficientformerv2_s0 "
    "efficientnet_b0 tf_efficientnet_lite0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0 "
    "fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 halonet26t hardcorenas_a hgnetv2_b0 hiera_tiny_224 "
    "sam2_hiera_tiny hrnet_w18_small inception_next_atto inception_v3 legacy_seresnet18 levit_128s mambaout_femto "
    "test_maxvit maxvit_tiny_tf_224 test_coatnet coatnet_0_224 caformer_s18 poolformer_s12 mixer_s16_224 gmlp_ti16_224 "
    "mobilenetv3_small_100 mobilenetv4_conv_small mobilevit_xxs mvitv2_tiny nest_tiny nextvit_small dm_nfnet_f0 "
    "pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002 repghostnet_050 repvit_m0_9 repvgg_a0 res2net50d resnest14d resnet18 "
    "resnetv2_18 rexnet_100 selecsls42b sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs "
    "swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 swin_s3_tiny_224 tiny_vit_5m_224 "
    "tnt_s_patch16_224 tresnet_m twins_svt_small vgg11_bn visformer_tiny vit_tiny_patch16_224 flexivit_small "
    "vit_small_patch14_dinov2 vit_small_patch16_dinov3 vit_tiny_r_s16_p8_224 test_vit_relpos samvit_base_patch16_224 "
    "vitamin_small_224 volo_d1_224 ese_vovnet19b_dw legacy_xception xception41 xcit_nano_12_p16_224"
)
SIZE = (150, 203)


def outcome(name: str) -> tuple[str, bool]:
    """What came of a network, and whether that is in order."""
    try:
        backbone = TimmBackbone(name).eval()
    except ConfigError as error:
        return f"refused: {error}", True
    except Exception as error:
        return f"FAULT at construction: {type(error).__name__}: {error}", False
    try:
        with torch.no_grad():
            levels = backbone(torch.randn(1, 3, *SIZE))
    except Exception as error:
        return f"FAULT: {type(error).__name__}: {error}", False
    for level, stride, channels in zip(levels, STRIDES, backbone.channels, strict=True):
        near = all(abs(got - want / stride) <= 4.5 for got, want in zip(level.shape[2:], SIZE, strict=True))
        if level.shape[1] != channels or not near or not level.isfinite().all():
            return f"FAULT: stride {stride} gives {tuple(level.shape)}", False
    return "works", True


def main() -> int:
    """Prints a line for each network."""
    silence_libraries()
    torch.manual_seed(0)
    good = True
    for name in sys.argv[1:] or [name.split(":")[-1] for name in FAMILIES.split()]:
        started = time.perf_counter()
        text, right = outcome(name)
        good &= right
        print(f"{name:32} {time.perf_counter() - started:5.1f} s  {' '.join(text.split())[:220]}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
