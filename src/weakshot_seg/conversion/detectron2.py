"""The authors' SimFormer and MaskFormer: files and names of detectron2 (``.pth``, ``.pkl``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weakshot_seg.conversion.renaming import Rename, to_ours
from weakshot_seg.conversion.safe_pickle import load_pickle
from weakshot_seg.conversion.source import Source
from weakshot_seg.errors import ConfigError

_LAYER = "sem_seg_head.predictor.transformer.decoder.layers.{}."
_SIMNET = "criterion.cro_pixel_sim_net."


def _one(ours: str, theirs: str) -> Rename:
    return Rename(ours, (theirs,))


_RESNET = (
    _one("backbone.net.conv1.weight", "backbone.stem.conv1.weight"),
    _one("backbone.net.bn1.{}", "backbone.stem.conv1.norm.{}"),
    *(
        rename
        for stage in range(1, 5)
        for rename in (
            *(
                pair
                for conv in range(1, 4)
                for pair in (
                    _one(
                        f"backbone.net.layer{stage}.{{}}.conv{conv}.weight",
                        f"backbone.res{stage + 1}.{{}}.conv{conv}.weight",
                    ),
                    _one(
                        f"backbone.net.layer{stage}.{{}}.bn{conv}.{{}}",
                        f"backbone.res{stage + 1}.{{}}.conv{conv}.norm.{{}}",
                    ),
                )
            ),
            _one(
                f"backbone.net.layer{stage}.{{}}.downsample.0.weight", f"backbone.res{stage + 1}.{{}}.shortcut.weight"
            ),
            _one(
                f"backbone.net.layer{stage}.{{}}.downsample.1.{{}}", f"backbone.res{stage + 1}.{{}}.shortcut.norm.{{}}"
            ),
        )
    ),
)

_SWIN = (
    _one("backbone.net.patch_embed.{}.{}", "backbone.patch_embed.{}.{}"),
    _one(
        "backbone.net.layers_{}.blocks.{}.attn.relative_position_bias_table",
        "backbone.layers.{}.blocks.{}.attn.relative_position_bias_table",
    ),
    _one("backbone.net.layers_{}.blocks.{}.attn.{}.{}", "backbone.layers.{}.blocks.{}.attn.{}.{}"),
    _one("backbone.net.layers_{}.blocks.{}.mlp.{}.{}", "backbone.layers.{}.blocks.{}.mlp.{}.{}"),
    _one("backbone.net.layers_{}.blocks.{}.{}.{}", "backbone.layers.{}.blocks.{}.{}.{}"),
    *(  # theirs merges patches at the end of a stage, timm's at the start of the next one
        _one(f"backbone.net.layers_{stage + 1}.downsample.{{}}.{{}}", f"backbone.layers.{stage}.downsample.{{}}.{{}}")
        for stage in range(3)
    ),
    *(_one(f"backbone.norms.{level}.{{}}", f"backbone.norm{level}.{{}}") for level in range(4)),
)

_HEAD = (
    *(
        rename
        for level, (ours, theirs) in enumerate(
            (("laterals.0", "adapter_1"), ("laterals.1", "adapter_2"), ("laterals.2", "adapter_3"))
        )
        for rename in (
            _one(f"pixel_decoder.{ours}.0.weight", f"sem_seg_head.pixel_decoder.{theirs}.weight"),
            _one(f"pixel_decoder.{ours}.1.{{}}", f"sem_seg_head.pixel_decoder.{theirs}.norm.{{}}"),
            _one(f"pixel_decoder.outputs.{level}.0.weight", f"sem_seg_head.pixel_decoder.layer_{level + 1}.weight"),
            _one(f"pixel_decoder.outputs.{level}.1.{{}}", f"sem_seg_head.pixel_decoder.layer_{level + 1}.norm.{{}}"),
        )
    ),
    _one("pixel_decoder.top.0.weight", "sem_seg_head.pixel_decoder.layer_4.weight"),
    _one("pixel_decoder.top.1.{}", "sem_seg_head.pixel_decoder.layer_4.norm.{}"),
    _one("pixel_decoder.embed.{}", "sem_seg_head.pixel_decoder.mask_features.{}"),
    _one("query_decoder.project.{}", "sem_seg_head.predictor.input_proj.{}"),
    _one("query_decoder.queries.{}", "sem_seg_head.predictor.query_embed.{}"),
    _one("query_decoder.norm.{}", "sem_seg_head.predictor.transformer.decoder.norm.{}"),
    _one("query_decoder.layers.{}.self_attention.in_proj_{}", _LAYER + "self_attn.in_proj_{}"),
    _one("query_decoder.layers.{}.self_attention.out_proj.{}", _LAYER + "self_attn.out_proj.{}"),
    _one("query_decoder.layers.{}.cross_attention.in_proj_{}", _LAYER + "multihead_attn.in_proj_{}"),
    _one("query_decoder.layers.{}.cross_attention.out_proj.{}", _LAYER + "multihead_attn.out_proj.{}"),
    _one("query_decoder.layers.{}.{}.{}", _LAYER + "{}.{}"),
    _one("head.classify.{}", "sem_seg_head.predictor.class_embed.{}"),
    _one("head.mask_embed.{}.{}", "sem_seg_head.predictor.mask_embed.layers.{}.{}"),
)

_SIMNET_NAMES = (
    *(
        rename
        for i in (1, 2)
        for rename in (
            _one(f"simnet.blocks.{{}}.linear{i}.{{}}", f"{_SIMNET}fc_branch.layers.{{}}.layer{i}.{{}}"),
            _one(f"simnet.blocks.{{}}.norm{i}.{{}}", f"{_SIMNET}fc_branch.layers.{{}}.bn{i}.{{}}"),
        )
    ),
    _one("simnet.blocks.{}.skip.{}", f"{_SIMNET}fc_branch.layers.{{}}.sqz.{{}}"),
    _one("simnet.head.{}", f"{_SIMNET}out_head.{{}}"),
)

TABLE = (*_RESNET, *_SWIN, *_HEAD, *_SIMNET_NAMES)
"""Names of MaskFormer with ResNet or Swin backbone, and of SimFormer's SimNet."""

OLD_NAMES = (
    (r"^module\.", ""),  # saved within DistributedDataParallel
    (r"^(stem|res[2-5])\.", r"backbone.\1."),  # backbone weights on their own
    (r"^sem_seg_head\.((adapter|layer)_\d|mask_features)\b", r"sem_seg_head.pixel_decoder.\1"),  # MaskFormer before 2
    (r"\.layers\.block(\d+)\.", r".layers.\1."),  # SimNet
)
"""Spellings that are brought to those of the table first: pattern and replacement."""

NOTHING_LEARNED = re.compile(r"criterion\.(empty_weight|ingore_th)|pixel_(mean|std)|.*\.relative_position_index")


def read_detectron2(path: Path) -> Source:
    """Reads the weights of a detectron2 checkpoint.

    Args:
        path: ``.pkl`` of the model zoo (``{"model": {name: array}, ...}``) or ``.pth`` (the same with tensors, or the
            tensors alone).

    Raises:
        ConfigError: the file is missing, broken, hostile, or holds no tensors.
    """
    return from_detectron2(_read(path), str(path))


def from_detectron2(state: Mapping[str, Tensor], origin: str = "the state dict") -> Source:
    """Weights under detectron2's names, as ours.

    Args:
        state: tensors by name; 1x1 convolutions of SimNet ``[out, in, 1, 1]`` become linear layers ``[out, in]``.
        origin: what an error calls them.

    Raises:
        ConfigError: no name is one of MaskFormer's.
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
    ours = {
        name: tensor[:, :, 0, 0] if name.startswith("simnet.") and tensor.dim() == 4 else tensor
        for name, tensor in ours.items()
    }
    return Source(ours, unexpected, left_out)


def _read(path: Path) -> dict[str, Tensor]:
    content = load_pickle(path) if path.suffix == ".pkl" else load_torch(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a dict of weights by name is needed")
    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in state.items()
    }
    odd = [name for name, value in tensors.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if odd:
        raise ConfigError(
            f"{path} holds a {type(tensors[odd[0]]).__name__} under {odd[0]!r}; only weights can be converted"
        )
    return tensors


def load_torch(path: Path) -> Any:
    """Content of a file of ``torch.save`` on the CPU: tensors and plain containers, nothing is executed.

    Raises:
        ConfigError: the file is missing, broken, or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a readable file") from error
    except Exception as error:  # a broken or hostile file can fail anywhere in the readers of archives and pickles
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{path} is refused: {reason}; a .pth may hold nothing but tensors and plain containers"
        ) from error
