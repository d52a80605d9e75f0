"""``config.json`` and ``preprocessor_config.json`` of transformers' MaskFormer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weakshot_seg.conversion.matching import Source
from weakshot_seg.conversion.sizes import Tensors, model_settings, resnet_sizes
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import reading

REQUIRED = {
    "backbone_config": {
        "resnet": {
            **{"layer_type": "bottleneck", "hidden_act": "relu", "downsample_in_first_stage": False},
            "downsample_in_bottleneck": False,  # True = the stride is in the 1x1 convolution
        },
        "swin": {"hidden_act": "gelu", "use_absolute_embeddings": False, "qkv_bias": True, "patch_size": 4},
    },
    "decoder_config": {"detr": {"activation_function": "relu", "auxiliary_loss": False}},
}
"""Settings that only exist in one way here. With ``auxiliary_loss`` transformers normalises the queries between the
decoder layers, which neither MaskFormer nor this library does."""


def read_config(folder: Path) -> Source:
    """What the JSON files of a folder hold beyond its tensors; a ConfigError for a network that does not exist here."""
    path, processor = folder / "config.json", folder / "preprocessor_config.json"
    config = _json(path)
    if config.get("model_type") != "maskformer":
        raise ConfigError(f"{path}: model_type is {config.get('model_type')!r}; only 'maskformer' can be converted")
    for part, kinds in REQUIRED.items():
        settings = config.get(part) or {}
        default = "detr" if part == "decoder_config" else "swin"
        kind = str(settings.get("model_type", default)).removeprefix("maskformer-")
        if kind not in kinds:
            raise ConfigError(f"{path}: {part}.model_type is {kind!r}; only {' and '.join(kinds)} can be converted")
        for name, needed in kinds[kind].items():
            if settings.get(name, needed) not in (needed, [needed, needed]):
                raise ConfigError(f"{path}: {part}.{name} is {settings[name]!r}; only {needed!r} exists here")
    labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    image = _json(processor) if processor.is_file() else {}
    mean, std = (tuple(image[key]) if key in image else None for key in ("image_mean", "image_std"))
    num_heads = int((config.get("decoder_config") or {}).get("decoder_attention_heads", 8))
    class_names = tuple(str(labels[key]) for key in sorted(labels, key=int))
    return Source({}, num_heads=num_heads, class_names=class_names, mean=mean, std=std)


def make_config(tensors: Tensors, num_heads: int, class_names: tuple[str, ...]) -> dict[str, Any]:
    """``config.json`` of a complete network."""
    sizes = model_settings(tensors)
    if "embed_dim" in sizes["backbone"]:
        shown = ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio")
        backbone = {"model_type": "swin", **{name: sizes["backbone"][name] for name in shown}}
    else:
        depths, channels = resnet_sizes(tensors)
        backbone = {"model_type": "resnet", "layer_type": "bottleneck", "embedding_size": 64, "depths": list(depths)}
        backbone["hidden_sizes"] = [4 * inner for inner in channels]
    decoder = {"d_model": sizes["dim"], "decoder_layers": sizes["num_layers"], "decoder_ffn_dim": sizes["ffn_dim"]}
    heads = {"decoder_attention_heads": num_heads, "encoder_attention_heads": num_heads}
    return {
        "architectures": ["MaskFormerForInstanceSegmentation"],
        "model_type": "maskformer",
        "backbone_config": {**backbone, "out_features": [f"stage{i}" for i in range(1, 5)]},
        "decoder_config": {"model_type": "detr", "num_queries": sizes["num_queries"], **decoder, **heads},
        "fpn_feature_size": sizes["pixel_dim"],
        "mask_feature_size": sizes["embedding_dim"],
        "id2label": {str(i): name for i, name in enumerate(class_names)},
        "label2id": {name: i for i, name in enumerate(class_names)},
        **dict.fromkeys(("dtype", "torch_dtype"), "float32"),
    }


def make_preprocessor(
    mean: list[float], std: list[float], short_edge: int | None, max_size: int | None
) -> dict[str, Any]:
    """``preprocessor_config.json``: transformers then prepares images as our evaluation does (None = no such limit)."""
    size = {"size": {"shortest_edge": short_edge, "longest_edge": max_size or 10 * short_edge}} if short_edge else {}
    kind = {"image_processor_type": "MaskFormerImageProcessor", "ignore_index": 255, "do_reduce_labels": False}
    scale = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": mean, "image_std": std}
    return {**kind, "do_resize": bool(size), **size, "size_divisor": 32, **scale}


def _json(path: Path) -> Mapping[str, Any]:
    with reading(path, "download it again, into a folder of save_pretrained"):
        content: Mapping[str, Any] = dict(json.loads(path.read_text("utf8")))
    return content
