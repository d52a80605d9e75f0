"""Folders of transformers' ``MaskFormerForInstanceSegmentation``, read and written without transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from weakshot_seg.conversion.huggingface_config import read_config
from weakshot_seg.conversion.huggingface_names import HEAD, IN_MEMORY, RESNET, SWIN, TABLES, UNUSED
from weakshot_seg.conversion.renaming import to_ours, to_theirs
from weakshot_seg.conversion.source import Source
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import replacing

NO_OBJECT_WEIGHT = 0.1
SWIN_TABLE = "attention.self.relative_position_bias_table"


def read_huggingface(folder: Path) -> Source:
    """Reads a folder of ``save_pretrained``.

    Args:
        folder: ``config.json`` and ``model.safetensors`` (also in several pieces with an index), optionally
            ``preprocessor_config.json``.

    Raises:
        ConfigError: a file is missing or broken, or the network is another than MaskFormer with ResNet or Swin.
    """
    config = read_config(folder)
    stored = {}
    for name, tensor in _tensors(folder).items():
        for pattern, spelling in IN_MEMORY:
            name = re.sub(pattern, spelling, name)
        stored[name] = tensor
    unused = {name: stored.pop(name) for name in list(stored) if UNUSED.fullmatch(name)}
    ours, unexpected = to_ours(stored, (*RESNET, *SWIN, *HEAD))
    return Source(ours, unexpected, unused, config.num_heads, config.class_names, config.mean, config.std)


def to_huggingface(
    tensors: Mapping[str, Tensor], family: str, unused: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The inverse of :func:`read_huggingface`, for tensors in memory.

    Args:
        tensors: all of our network.
        family: ``resnet`` or ``swin``.
        unused: stored tensors that our network does not have, as they were read; those that are not given are made.

    Returns:
        Tensors to store, and our names that transformers has no place for.
    """
    theirs, unknown = to_theirs(tensors, TABLES[family])
    empty_weight = torch.ones(len(theirs["class_predictor.bias"]))
    empty_weight[-1] = NO_OBJECT_WEIGHT
    made = {"criterion.empty_weight": empty_weight}
    if family == "swin":
        for name in [name for name in theirs if name.endswith(SWIN_TABLE)]:
            index = _relative_position_index((int(len(theirs[name]) ** 0.5) + 1) // 2)
            made[name.replace("bias_table", "index")] = index
        width = len(tensors["backbone.norms.3.weight"])
        prefix = "model.pixel_level_module.encoder.model.layernorm"
        made |= {f"{prefix}.weight": torch.ones(width), f"{prefix}.bias": torch.zeros(width)}
    return {**theirs, **made, **{name: t for name, t in unused.items() if name in made}}, unknown


def write_huggingface(folder: Path, tensors: dict[str, Tensor], files: Mapping[str, dict[str, Any]]) -> None:
    """Writes a folder that ``from_pretrained`` reads.

    Args:
        folder: made if absent.
        tensors: content of ``model.safetensors``.
        files: content of the JSON files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf8")
    with replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def _tensors(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    try:
        if index.is_file():
            pieces = sorted(set(json.loads(index.read_text("utf8"))["weight_map"].values()))
            paths = [folder / Path(piece).name for piece in pieces]  # never outside the folder
        else:
            paths = [folder / "model.safetensors"]
        return {name: tensor for path in paths for name, tensor in load_file(path).items()}
    except OSError as error:
        raise ConfigError(f"{folder} has no weights ({error}); give a folder with model.safetensors") from error
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"the weights in {folder} cannot be read ({error}); download them again") from error


def _relative_position_index(window: int) -> Tensor:
    """int64 ``[w * w, w * w]``: row of the bias table for each pair of places in a window."""
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    step = place[:, None] - place[None] + window - 1  # 0 .. 2 w - 2 down and right
    return step[..., 0] * (2 * window - 1) + step[..., 1]
