"""How large a model is, read from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from weakshot_seg.errors import ConfigError

RESNETS: dict[tuple[int, ...], str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
"""timm's names of ResNets with bottlenecks, by blocks per stage."""
RESNET_CHANNELS = (64, 128, 256, 512)
SWIN = "swin_tiny_patch4_window7_224"
"""timm's Swin of which all sizes are then given as options."""


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
    """Sizes of a MaskFormer; None = the tensors do not tell, because that part is absent.

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

    backbone: BackboneSizes | None = None
    num_classes: int | None = None
    num_queries: int | None = None
    dim: int | None = None
    ffn_dim: int | None = None
    num_layers: int | None = None
    pixel_dim: int | None = None
    embedding_dim: int | None = None
    simnet_dim: int | None = None
    simnet_blocks: int | None = None
    simnet_batch_norm: bool | None = None


def read_sizes(tensors: Mapping[str, Tensor]) -> ModelSizes:
    """Sizes of a network (``backbone.net.``, ``pixel_decoder.``, ``query_decoder.``, ``head.``) and its ``simnet.``.

    Raises:
        ConfigError: a backbone that is neither a ResNet with bottlenecks nor a Swin.
    """
    rows = {name: len(tensor) for name, tensor in tensors.items() if tensor.dim()}
    classes = rows.get("head.classify.bias")
    queries = tensors.get("query_decoder.queries.weight")
    simnet = rows.get("simnet.blocks.0.linear1.bias")
    return ModelSizes(
        backbone=_backbone(tensors),
        num_classes=None if classes is None else classes - 1,
        num_queries=None if queries is None else len(queries),
        dim=None if queries is None else queries.shape[1],
        ffn_dim=rows.get("query_decoder.layers.0.linear1.bias"),
        num_layers=_count(tensors, "query_decoder.layers.") or None,
        pixel_dim=rows.get("pixel_decoder.top.0.weight"),
        embedding_dim=rows.get("pixel_decoder.embed.bias"),
        simnet_dim=simnet,
        simnet_blocks=_count(tensors, "simnet.blocks.") or None,
        simnet_batch_norm=None if simnet is None else "simnet.blocks.0.norm1.weight" in tensors,
    )


def _backbone(tensors: Mapping[str, Tensor]) -> BackboneSizes | None:
    names = [name for name in tensors if name.startswith("backbone.net.")]
    if not names:
        return None
    if "backbone.net.layer1.0.conv3.weight" in tensors:
        return _resnet(tensors)
    if "backbone.net.layers_0.blocks.0.attn.relative_position_bias_table" in tensors:
        return _swin(tensors)
    raise ConfigError(
        f"the backbone (with the tensor {names[0].removeprefix('backbone.net.')}) is neither a ResNet with "
        "bottlenecks nor a Swin; only ResNet-50, -101, -152 and Swin can be converted"
    )


def _resnet(tensors: Mapping[str, Tensor]) -> BackboneSizes:
    depths = tuple(_count(tensors, f"backbone.net.layer{stage}.") for stage in range(1, 5))
    convolutions = [tensors.get(f"backbone.net.layer{stage}.0.conv2.weight") for stage in range(1, 5)]
    channels = tuple(len(tensor) for tensor in convolutions if tensor is not None)
    options: dict[str, Any] = {} if depths in RESNETS else {"layers": list(depths)}
    if channels != RESNET_CHANNELS:
        options["channels"] = list(channels)
    return BackboneSizes("resnet", RESNETS.get(depths, "resnet50"), depths, channels, options)


def _swin(tensors: Mapping[str, Tensor]) -> BackboneSizes:
    stages = range(_count(tensors, "backbone.net.layers_"))
    depths = tuple(_count(tensors, f"backbone.net.layers_{s}.blocks.") for s in stages)
    tables = [tensors[f"backbone.net.layers_{s}.blocks.0.attn.relative_position_bias_table"] for s in stages]
    embed = tensors["backbone.net.layers_0.blocks.0.norm1.weight"]
    options = {
        "embed_dim": len(embed),
        "depths": list(depths),
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (int(len(tables[0]) ** 0.5) + 1) // 2,  # a table has (2 w - 1)^2 rows
        "mlp_ratio": len(tensors["backbone.net.layers_0.blocks.0.mlp.fc1.weight"]) / len(embed),
        "always_partition": True,  # whole shifted windows also on small maps, as detectron2 and transformers
    }
    channels = tuple(len(embed) * 2**stage for stage in stages)
    return BackboneSizes("swin", SWIN, depths, channels, options, "backbone.norms.0.weight" in tensors)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many different numbers follow ``prefix``."""
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})
