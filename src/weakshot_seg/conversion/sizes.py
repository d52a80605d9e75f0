"""The settings that rebuild a foreign network here, read from the shapes of its tensors."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor

from weakshot_seg.conversion.matching import Source
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.recipe import Group, Recipe

RESNETS: dict[tuple[int, ...], str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
"""timm's names of ResNets with bottlenecks, by blocks per stage."""
SWIN = "swin_tiny_patch4_window7_224"
"""timm's Swin of which all sizes are then given as options."""

Tensors = Mapping[str, Tensor]
"""Of a network (``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.``) and its ``simnet.``, by name."""


def num_classes(tensors: Tensors) -> int | None:
    """``K``, without "no object"; None: there is no classifier."""
    bias = tensors.get("head.classify.bias")
    return None if bias is None else len(bias) - 1


def model_settings(tensors: Tensors) -> Group:
    """Settings of ``model`` that the shapes show, see :func:`backbone_settings`; parts may be absent."""
    found = {
        "num_queries": _length(tensors, "query_decoder.queries.weight"),
        "dim": _length(tensors, "query_decoder.queries.weight", axis=1),
        "ffn_dim": _length(tensors, "query_decoder.layers.0.linear1.bias"),
        "num_layers": _count(tensors, "query_decoder.layers.") or None,
        "pixel_dim": _length(tensors, "pixel_decoder.top.0.weight"),
        "embedding_dim": _length(tensors, "pixel_decoder.embed.bias"),
        "backbone": backbone_settings(tensors),
    }
    return {name: value for name, value in found.items() if value}


def backbone_settings(tensors: Tensors) -> Group:
    """Timm's name, what differs from that model, and ``norm_outputs``; a ConfigError for other than ResNet and Swin."""
    net = {name.removeprefix("backbone.net."): t for name, t in tensors.items() if name.startswith("backbone.net.")}
    norm_outputs = "backbone.norms.0.weight" in tensors
    if "layer1.0.conv3.weight" in net:
        depths, channels = resnet_sizes(tensors)
        options: Group = {} if depths in RESNETS else {"layers": list(depths)}
        if channels != (64, 128, 256, 512):
            options["channels"] = list(channels)
        return {"name": RESNETS.get(depths, "resnet50"), "norm_outputs": norm_outputs, **options}
    if "layers_0.blocks.0.attn.relative_position_bias_table" in net:
        return {"name": SWIN, "norm_outputs": norm_outputs, **_swin(net)}
    if not net:
        return {}
    remedy = "only ResNet-50, -101, -152 and Swin are known"
    raise ConfigError(f"the backbone ({next(iter(net))}) is neither a ResNet with bottlenecks nor a Swin: {remedy}")


def resnet_sizes(tensors: Tensors) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Blocks of the four stages, and channels within their bottlenecks."""
    stages = [f"backbone.net.layer{stage}." for stage in range(1, 5)]
    channels = (_length(tensors, f"{stage}0.conv2.weight") or 0 for stage in stages)
    return tuple(_count(tensors, stage) for stage in stages), tuple(channels)


def _swin(net: Tensors) -> Group:
    stages = range(_count(net, "layers_"))
    tables = [net[f"layers_{stage}.blocks.0.attn.relative_position_bias_table"] for stage in stages]
    width = len(net["layers_0.blocks.0.norm1.weight"])
    return {
        "embed_dim": width,
        "depths": [_count(net, f"layers_{stage}.blocks.") for stage in stages],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (int(len(tables[0]) ** 0.5) + 1) // 2,  # a table has (2 w - 1)^2 rows
        "mlp_ratio": len(net["layers_0.blocks.0.mlp.fc1.weight"]) / width,
        "always_partition": True,  # whole shifted windows also on small maps, as detectron2 and transformers
    }


def simnet_settings(tensors: Tensors) -> Group | None:
    """Settings of SimNet but for the width of its inputs; None: there is none."""
    width, blocks = _length(tensors, "simnet.blocks.0.linear1.bias"), _count(tensors, "simnet.blocks.")
    settings = {"hidden_dim": width, "num_blocks": blocks, "batch_norm": "simnet.blocks.0.norm1.weight" in tensors}
    return settings if blocks else None


def fit_recipe(recipe: Recipe, source: Source) -> Recipe:
    """A recipe with the sizes, heads and normalisation of a foreign network; what that does not show stays as it is.

    It has no similarity term if the network has no SimNet.
    """
    recipe = deepcopy(recipe)
    model, terms = recipe.model, recipe.loss["terms"]
    settings, simnet = model_settings(source.tensors), simnet_settings(source.tensors)
    backbone = model["backbone"] | settings.pop("backbone", {}) | {"pretrained": False, "checkpoint": None}
    model.update(settings, backbone=backbone)
    if source.num_heads is not None:
        model["num_heads"] = source.num_heads
    if source.mean is not None and source.std is not None:
        backbone["pretrained_cfg_overlay"] = {"mean": list(source.mean), "std": list(source.std)}
    if simnet is None:
        terms.pop("similarity", None)
    elif "similarity" in terms:
        terms["similarity"]["simnet"].update(simnet, embedding_dim=model["embedding_dim"])
    return recipe


def _length(tensors: Tensors, name: str, axis: int = 0) -> int | None:
    return tensors[name].shape[axis] if name in tensors else None


def _count(tensors: Mapping[str, Any], prefix: str) -> int:
    """How many different numbers follow ``prefix``."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
