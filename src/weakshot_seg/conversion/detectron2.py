"""The authors' SimFormer and MaskFormer: files and names of detectron2 (``.pth``, ``.pkl``)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weakshot_seg.conversion.matching import Source, Table, prefixed, to_ours
from weakshot_seg.conversion.safe_pickle import load_pickle
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import check_zip, reading

_RESNET_BLOCK = [
    *((f"conv{i}.weight", f"conv{i}.weight") for i in (1, 2, 3)),
    *((f"bn{i}.*", f"conv{i}.norm.*") for i in (1, 2, 3)),
    ("downsample.0.weight", "shortcut.weight"),
    ("downsample.1.*", "shortcut.norm.*"),
]
_RESNET = [
    ("conv1.weight", "stem.conv1.weight"),
    ("bn1.*", "stem.conv1.norm.*"),
    *(pair for stage in range(1, 5) for pair in prefixed(f"layer{stage}.*.", f"res{stage + 1}.*.", _RESNET_BLOCK)),
]
_SWIN = [
    ("patch_embed.*.*", "patch_embed.*.*"),
    ("layers_*.blocks.*.attn.relative_position_bias_table", "layers.*.blocks.*.attn.relative_position_bias_table"),
    ("layers_*.blocks.*.attn.*.*", "layers.*.blocks.*.attn.*.*"),
    ("layers_*.blocks.*.mlp.*.*", "layers.*.blocks.*.mlp.*.*"),
    ("layers_*.blocks.*.*.*", "layers.*.blocks.*.*.*"),
    # theirs merges patches at the end of a stage, timm's at the start of the next one
    *((f"layers_{stage + 1}.downsample.*.*", f"layers.{stage}.downsample.*.*") for stage in range(3)),
]
_NORMS = [(f"backbone.norms.{level}.*", f"backbone.norm{level}.*") for level in range(4)]


def _convolution(ours: str, theirs: str) -> Table:
    """A convolution followed by a norm."""
    return [(f"{ours}.0.weight", f"{theirs}.weight"), (f"{ours}.1.*", f"{theirs}.norm.*")]


_PIXEL_DECODER = [
    *(pair for i in range(3) for pair in _convolution(f"laterals.{i}", f"adapter_{i + 1}")),
    *(pair for i in range(3) for pair in _convolution(f"outputs.{i}", f"layer_{i + 1}")),
    *_convolution("top", "layer_4"),
    ("embed.*", "mask_features.*"),
]
_DECODER_LAYER = [
    *((f"self_attention.{name}", f"self_attn.{name}") for name in ("in_proj_*", "out_proj.*")),
    *((f"cross_attention.{name}", f"multihead_attn.{name}") for name in ("in_proj_*", "out_proj.*")),
    ("*.*", "*.*"),
]
_PREDICTOR = [
    ("query_decoder.project.*", "input_proj.*"),
    ("query_decoder.queries.*", "query_embed.*"),
    ("query_decoder.norm.*", "transformer.decoder.norm.*"),
    *prefixed("query_decoder.layers.*.", "transformer.decoder.layers.*.", _DECODER_LAYER),
    ("head.classify.*", "class_embed.*"),
    ("head.mask_embed.*.*", "mask_embed.layers.*.*"),
]
_SIMNET = [
    *((f"blocks.*.linear{i}.*", f"fc_branch.layers.*.layer{i}.*") for i in (1, 2)),
    *((f"blocks.*.norm{i}.*", f"fc_branch.layers.*.bn{i}.*") for i in (1, 2)),
    ("blocks.*.skip.*", "fc_branch.layers.*.sqz.*"),
    ("head.*", "out_head.*"),
]

TABLE = [
    *prefixed("backbone.net.", "backbone.", _RESNET + _SWIN),
    *_NORMS,
    *prefixed("pixel_decoder.", "sem_seg_head.pixel_decoder.", _PIXEL_DECODER),
    *prefixed("", "sem_seg_head.predictor.", _PREDICTOR),
    *prefixed("simnet.", "criterion.cro_pixel_sim_net.", _SIMNET),
]
"""Names of MaskFormer with ResNet or Swin backbone, and of SimFormer's SimNet."""

OLD_NAMES = (
    (r"^module\.", ""),  # saved within DistributedDataParallel
    (r"^(stem|res[2-5])\.", r"backbone.\1."),  # backbone weights on their own
    (r"^sem_seg_head\.((adapter|layer)_\d|mask_features)\b", r"sem_seg_head.pixel_decoder.\1"),  # MaskFormer before 2
    (r"\.layers\.block(\d+)\.", r".layers.\1."),  # SimNet
)
"""Spellings that are brought to those of the table first: pattern and replacement."""

NOTHING_LEARNED = re.compile(r"criterion\.(empty_weight|ingore_th)|pixel_(mean|std)|.*\.relative_position_index")


def load_file(path: Path) -> Any:
    """Content of a ``.pkl``, or of a file of ``torch.save`` on the CPU; a DataError if it is more than plain data."""
    if path.suffix == ".pkl":
        return load_pickle(path)
    with reading(path, "a .pth may hold nothing but tensors and plain containers"):
        check_zip(path)
        return torch.load(path, map_location="cpu", weights_only=True)


def read_detectron2(content: Any, path: Path) -> Source:
    """``{"model": {name: tensor or array}, ...}`` of a file, or the inner dict alone; else a ConfigError."""
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a dict of weights by name is needed")
    tensors = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in state.items()}
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise ConfigError(f"{path} holds a {type(value).__name__} under {name!r}; only weights can be converted")
    return from_detectron2(tensors, str(path))


def from_detectron2(state: Mapping[str, Tensor], origin: str = "the state dict") -> Source:
    """Weights under detectron2's names, as ours; a ConfigError if no name is one of MaskFormer's.

    SimNet's 1x1 convolutions ``[out, in, 1, 1]`` become linear layers.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for pattern, replacement in OLD_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    left_out = {name: renamed.pop(name) for name in list(renamed) if NOTHING_LEARNED.fullmatch(name)}
    ours, unexpected = to_ours(renamed, TABLE)
    if not ours:
        raise ConfigError(f"{origin} has none of MaskFormer's names (it has {next(iter(state), 'nothing')}, ...)")
    for name, tensor in ours.items():
        if name.startswith("simnet.") and tensor.dim() == 4:
            ours[name] = tensor[:, :, 0, 0]
    return Source(ours, unexpected, left_out)
