"""How large a foreign network is, read from its tensors, and the settings that rebuild it here."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from weakshot_seg.conversion.matching import Source
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.recipe import Recipe

RESNETS: dict[tuple[int, ...], str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
"""timm's names of ResNets with bottlenecks, by blocks per stage."""
RESNET_CHANNELS = (64, 128, 256, 512)
SWIN = "swin_tiny_patch4_window7_224"
"""timm's Swin of which all sizes are then given as options."""
SETTINGS = ("num_queries", "dim", "ffn_dim", "num_layers", "pixel_dim", "embedding_dim")
"""Sizes that are settings of the model, too."""


@dataclass(frozen=True)
class BackboneSizes:
    """A backbone as timm makes it.

    Attributes:
        family: ``resnet`` or ``swin``.
        name: timm's name.
        depths: blocks of the four stages.
        channels: channels of the four stages (ResNet: within the bottleneck).
        options: what differs from that model (``layers``, ``channels``, ``embed_dim``, ...).
        norm_outputs: each of the four levels has a LayerNorm.
    """

    family: str
    name: str
    depths: tuple[int, ...]
    channels: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    norm_outputs: bool = False


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a MaskFormer; None = that part is absent.

    Attributes:
        backbone: see :class:`BackboneSizes`.
        num_classes: ``K``, without "no object".
        num_queries: ``Q``.
        dim: width of the transformer decoder.
        ffn_dim: width of its feed-forward part.
        num_layers: its layers ``L``.
        pixel_dim: width of the pixel decoder.
        embedding_dim: channels ``C`` of pixel and mask embeddings.
        simnet_dim: width of SimNet.
        simnet_blocks: its residual blocks.
        simnet_batch_norm: it has BatchNorm.
    """

    backbone: BackboneSizes | None
    num_classes: int | None
    num_queries: int | None
    dim: int | None
    ffn_dim: int | None
    num_layers: int | None
    pixel_dim: int | None
    embedding_dim: int | None
    simnet_dim: int | None
    simnet_blocks: int | None
    simnet_batch_norm: bool


def read_sizes(tensors: Mapping[str, Tensor]) -> ModelSizes:
    """Sizes of a network (``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.``) and its ``simnet.``.

    Raises:
        ConfigError: a backbone that is neither a ResNet with bottlenecks nor a Swin.
    """
    rows = {name: len(tensor) for name, tensor in tensors.items() if tensor.dim()}
    classes, queries = rows.get("head.classify.bias"), tensors.get("query_decoder.queries.weight")
    return ModelSizes(
        backbone=_backbone(tensors),
        num_classes=None if classes is None else classes - 1,
        num_queries=None if queries is None else len(queries),
        dim=None if queries is None else queries.shape[1],
        ffn_dim=rows.get("query_decoder.layers.0.linear1.bias"),
        num_layers=_count(tensors, "query_decoder.layers.") or None,
        pixel_dim=rows.get("pixel_decoder.top.0.weight"),
        embedding_dim=rows.get("pixel_decoder.embed.bias"),
        simnet_dim=rows.get("simnet.blocks.0.linear1.bias"),
        simnet_blocks=_count(tensors, "simnet.blocks.") or None,
        simnet_batch_norm="simnet.blocks.0.norm1.weight" in tensors,
    )


def fit_recipe(recipe: Recipe, sizes: ModelSizes, source: Source) -> Recipe:
    """A recipe with the sizes of a foreign network.

    Args:
        recipe: settings of the paper; what the network does not show stays as it is here.
        sizes: of the network.
        source: the network; its heads and normalisation go into the recipe.

    Returns:
        The new recipe. It has no similarity term if the network has no SimNet.
    """
    recipe = deepcopy(recipe)
    model, terms = recipe.model, recipe.loss["terms"]
    found = {name: getattr(sizes, name) for name in SETTINGS} | {"num_heads": source.num_heads}
    model.update({name: value for name, value in found.items() if value is not None})
    model["backbone"].update(pretrained=False, checkpoint=None)
    if (backbone := sizes.backbone) is not None:
        model["backbone"].update(name=backbone.name, norm_outputs=backbone.norm_outputs, **backbone.options)
    if source.mean is not None and source.std is not None:
        model["backbone"]["pretrained_cfg_overlay"] = {"mean": list(source.mean), "std": list(source.std)}
    if sizes.simnet_dim is None:
        terms.pop("similarity", None)
    elif "similarity" in terms:
        terms["similarity"]["simnet"].update(
            embedding_dim=model["embedding_dim"],
            hidden_dim=sizes.simnet_dim,
            num_blocks=sizes.simnet_blocks,
            batch_norm=sizes.simnet_batch_norm,
        )
    return recipe


def _backbone(tensors: Mapping[str, Tensor]) -> BackboneSizes | None:
    net = {name.removeprefix("backbone.net."): t for name, t in tensors.items() if name.startswith("backbone.net.")}
    if "layer1.0.conv3.weight" in net:
        return _resnet(net)
    if "layers_0.blocks.0.attn.relative_position_bias_table" in net:
        return _swin(net, norm_outputs="backbone.norms.0.weight" in tensors)
    if not net:
        return None
    raise ConfigError(
        f"the backbone (with the tensor {next(iter(net))}) is neither a ResNet with bottlenecks nor a Swin; only "
        "ResNet-50, -101, -152 and Swin can be converted"
    )


def _resnet(net: Mapping[str, Tensor]) -> BackboneSizes:
    depths = tuple(_count(net, f"layer{stage}.") for stage in range(1, 5))
    convolutions = [net.get(f"layer{stage}.0.conv2.weight") for stage in range(1, 5)]
    channels = tuple(len(tensor) for tensor in convolutions if tensor is not None)
    options: dict[str, Any] = {} if depths in RESNETS else {"layers": list(depths)}
    if channels != RESNET_CHANNELS:
        options["channels"] = list(channels)
    return BackboneSizes("resnet", RESNETS.get(depths, "resnet50"), depths, channels, options)


def _swin(net: Mapping[str, Tensor], norm_outputs: bool) -> BackboneSizes:
    stages = range(_count(net, "layers_"))
    depths = tuple(_count(net, f"layers_{stage}.blocks.") for stage in stages)
    tables = [net[f"layers_{stage}.blocks.0.attn.relative_position_bias_table"] for stage in stages]
    width = len(net["layers_0.blocks.0.norm1.weight"])
    options = {
        "embed_dim": width,
        "depths": list(depths),
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (int(len(tables[0]) ** 0.5) + 1) // 2,  # a table has (2 w - 1)^2 rows
        "mlp_ratio": len(net["layers_0.blocks.0.mlp.fc1.weight"]) / width,
        "always_partition": True,  # whole shifted windows also on small maps, as detectron2 and transformers
    }
    return BackboneSizes("swin", SWIN, depths, tuple(width * 2**stage for stage in stages), options, norm_outputs)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many different numbers follow ``prefix``."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
