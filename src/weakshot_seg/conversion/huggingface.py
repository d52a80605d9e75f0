"""Folders of transformers' ``MaskFormerForInstanceSegmentation``, read and written without transformers."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from weakshot_seg.conversion.huggingface_config import read_config
from weakshot_seg.conversion.matching import Source, prefixed, to_ours, to_theirs
from weakshot_seg.errors import ConfigError
from weakshot_seg.utils.files import reading, replacing

_BACKBONE = "model.pixel_level_module.encoder."
_PIXEL_DECODER = "model.pixel_level_module.decoder."
_TRANSFORMER = "model.transformer_module."
# torch keeps the projections of query, key and value in one matrix, transformers in three
_ATTENTION = [("in_proj_*", "[q_proj k_proj v_proj].*"), ("out_proj.*", "out_proj.*")]
_DECODER_LAYER = [
    *prefixed("self_attention.", "self_attn.", _ATTENTION),
    *prefixed("cross_attention.", "encoder_attn.", _ATTENTION),
    *((f"linear{i}.*", f"fc{i}.*") for i in (1, 2)),
    *((f"norm{i}.*", f"{what}_layer_norm.*") for i, what in enumerate(("self_attn", "encoder_attn", "final"), 1)),
]
_HEAD = [
    ("pixel_decoder.top.*.*", f"{_PIXEL_DECODER}fpn.stem.*.*"),
    *((f"pixel_decoder.laterals.{i}.*.*", f"{_PIXEL_DECODER}fpn.layers.{2 - i}.proj.*.*") for i in range(3)),
    *((f"pixel_decoder.outputs.{i}.*.*", f"{_PIXEL_DECODER}fpn.layers.{2 - i}.block.*.*") for i in range(3)),
    ("pixel_decoder.embed.*", f"{_PIXEL_DECODER}mask_projection.*"),
    ("query_decoder.project.*", f"{_TRANSFORMER}input_projection.*"),
    ("query_decoder.queries.*", f"{_TRANSFORMER}queries_embedder.*"),
    ("query_decoder.norm.*", f"{_TRANSFORMER}decoder.layernorm.*"),
    *prefixed("query_decoder.layers.*.", f"{_TRANSFORMER}decoder.layers.*.", _DECODER_LAYER),
    ("head.classify.*", "class_predictor.*"),
    ("head.mask_embed.*.*", "mask_embedder.*.0.*"),
]
_RESNET_BLOCK = [
    *((f"conv{i + 1}.*", f"layer.{i}.convolution.*") for i in range(3)),
    *((f"bn{i + 1}.*", f"layer.{i}.normalization.*") for i in range(3)),
    ("downsample.0.*", "shortcut.convolution.*"),
    ("downsample.1.*", "shortcut.normalization.*"),
]
_RESNET = [
    ("conv1.*", "embedder.embedder.convolution.*"),
    ("bn1.*", "embedder.embedder.normalization.*"),
    *(pair for i in range(4) for pair in prefixed(f"layer{i + 1}.*.", f"encoder.stages.{i}.layers.*.", _RESNET_BLOCK)),
]
_SWIN_BLOCK = [
    ("norm1.*", "layernorm_before.*"),
    ("norm2.*", "layernorm_after.*"),
    ("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    ("attn.qkv.*", "attention.self.[query key value].*"),
    ("attn.proj.*", "attention.output.dense.*"),
    ("mlp.fc1.*", "intermediate.dense.*"),
    ("mlp.fc2.*", "output.dense.*"),
]
_SWIN = [
    ("patch_embed.proj.*", "model.embeddings.patch_embeddings.projection.*"),
    ("patch_embed.norm.*", "model.embeddings.norm.*"),
    *prefixed("layers_*.blocks.*.", "model.encoder.layers.*.blocks.*.", _SWIN_BLOCK),
    # theirs merges patches at the end of a stage, timm's at the start of the next one
    *((f"layers_{i + 1}.downsample.*.*", f"model.encoder.layers.{i}.downsample.*.*") for i in range(3)),
]
_NORMS = [("backbone.norms.*.*", f"{_BACKBONE}hidden_states_norms.*.*")]
TABLES = {
    "resnet": [*prefixed("backbone.net.", _BACKBONE, _RESNET), *_HEAD],
    "swin": [*prefixed("backbone.net.", _BACKBONE, _SWIN), *_NORMS, *_HEAD],
}
"""Names, as the folders store them, by family of the backbone."""

IN_MEMORY = ((r"(self|encoder)_attn\.o_proj\.", r"\1_attn.out_proj."), (r"(layers\.\d+)\.mlp\.(fc\d)\.", r"\1.\2."))
"""What transformers 5 calls the same tensors in memory: pattern and stored spelling."""

UNUSED = re.compile(r"criterion\.empty_weight|.*\.relative_position_index|model\..*\.encoder\.model\.layernorm\.\w+")
"""Stored tensors that hold nothing learned or are not used by the network."""
NO_OBJECT_WEIGHT = 0.1
SWIN_TABLE = "attention.self.relative_position_bias_table"


def read_huggingface(folder: Path) -> Source:
    """Reads a folder of ``save_pretrained``: the weights (also in several pieces) and the JSON files.

    A UserError if a file is missing or broken, or the network is another than MaskFormer with ResNet or Swin.
    """
    config = read_config(folder)
    paths = sorted(folder.glob("model*.safetensors"))  # model-00001-of-00002.safetensors
    if not paths:
        raise ConfigError(f"{folder} has no weights; give a folder with model.safetensors")
    with reading(folder, "download the weights again"):
        tensors = {name: tensor for path in paths for name, tensor in load_file(path).items()}
    stored = {}
    for name, tensor in tensors.items():
        for pattern, spelling in IN_MEMORY:
            name = re.sub(pattern, spelling, name)
        stored[name] = tensor
    unused = {name: stored.pop(name) for name in list(stored) if UNUSED.fullmatch(name)}
    ours, unexpected = to_ours(stored, [*TABLES["resnet"], *TABLES["swin"]])
    return replace(config, tensors=ours, unexpected=unexpected, left_out=unused)


def to_huggingface(
    tensors: Mapping[str, Tensor], family: str, unused: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The inverse of :func:`read_huggingface`: tensors to store, and our names that transformers has no place for.

    ``family`` is a key of :data:`TABLES`, ``unused`` what was left out in reading; what is not given is made.
    """
    theirs, unknown = to_theirs(tensors, TABLES[family])
    empty_weight = torch.ones(len(theirs["class_predictor.bias"]))
    empty_weight[-1] = NO_OBJECT_WEIGHT
    made = {"criterion.empty_weight": empty_weight}
    if family == "swin":
        for name, table in theirs.items():
            if name.endswith(SWIN_TABLE):
                made[name.replace("bias_table", "index")] = _relative_position_index((int(len(table) ** 0.5) + 1) // 2)
        norm = torch.ones(len(tensors["backbone.norms.3.weight"]))
        made |= {f"{_BACKBONE}model.layernorm.weight": norm, f"{_BACKBONE}model.layernorm.bias": 0 * norm}
    return {**theirs, **made, **{name: t for name, t in unused.items() if name in made}}, unknown


def write_huggingface(folder: Path, tensors: dict[str, Tensor], files: Mapping[str, dict[str, Any]]) -> None:
    """Writes a folder that ``from_pretrained`` reads: ``model.safetensors``, and JSON files by name."""
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf8")
    with replacing(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def _relative_position_index(window: int) -> Tensor:
    """int64 ``[w * w, w * w]``: row of the bias table for each pair of places in a window."""
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    step = place[:, None] - place[None] + window - 1  # 0 .. 2 w - 2 down and right
    return step[..., 0] * (2 * window - 1) + step[..., 1]
