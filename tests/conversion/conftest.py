"""Small networks of other implementations, with every tensor random, and the command."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor
from transformers import (
    DetrConfig,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    MaskFormerImageProcessor,
    ResNetConfig,
    SwinConfig,
)

from weakshot_seg.cli.convert import main

STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
SWIN = {"embed_dim": 16, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 4, 8], "window_size": 4, "image_size": 64}
BACKBONES = {
    "resnet": lambda: ResNetConfig(hidden_sizes=[16, 32, 64, 128], depths=[1, 2, 1, 2], **STAGES),
    "swin": lambda: SwinConfig(**SWIN, **STAGES),
}


def randomise(tensors: dict[str, Tensor]) -> None:
    """Small random numbers in place; variances and the weights of norms stay near one, counters stay as they are."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and "empty_weight" not in name:
            near_one = name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1)
            fan_in = tensor[0].numel() if tensor.dim() > 1 else 25
            tensor.normal_(0, 0.1 if near_one else fan_in**-0.5)
            tensor.add_(near_one).abs_() if near_one else None


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def foreign(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MaskFormerForInstanceSegmentation, Path]:
    """A Hugging Face MaskFormer for 5 classes in evaluation mode, and the folder it was saved to."""
    heads = {"decoder_attention_heads": 4, "encoder_attention_heads": 4}
    decoder = DetrConfig(num_queries=7, d_model=64, decoder_layers=2, decoder_ffn_dim=48, **heads)
    names = dict(enumerate(("sky", "cat", "dog", "tree", "road")))
    labels = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    parts = {"backbone_config": BACKBONES[request.param](), "decoder_config": decoder}
    config = MaskFormerConfig(fpn_feature_size=64, mask_feature_size=32, **parts, **labels)
    model = MaskFormerForInstanceSegmentation(config).eval()
    randomise(model.state_dict())
    folder = tmp_path_factory.mktemp("foreign") / request.param
    model.save_pretrained(folder)
    MaskFormerImageProcessor(image_mean=[0.5, 0.25, 0.75], image_std=[0.25, 0.5, 0.25]).save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="session")
def convert() -> Callable[..., None]:
    """``weakshot convert`` with the given settings."""

    def run(*settings: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["weakshot", *settings])
            main()

    return run
