"""Names of transformers' ``MaskFormerForInstanceSegmentation``, as its folders store them."""

from __future__ import annotations

import re

from weakshot_seg.conversion.renaming import Rename

_ENCODER = "model.pixel_level_module.encoder."
_FPN = "model.pixel_level_module.decoder.fpn."
_DECODER = "model.transformer_module.decoder."
_QKV = ("q_proj", "k_proj", "v_proj")


def _one(ours: str, theirs: str) -> Rename:
    return Rename(ours, (theirs,))


def _attention(ours: str, theirs: str) -> tuple[Rename, Rename]:
    """Torch keeps the projections of query, key and value in one matrix, transformers in three."""
    ours, theirs = f"query_decoder.layers.{{}}.{ours}.", f"{_DECODER}layers.{{}}.{theirs}."
    return (
        Rename(f"{ours}in_proj_{{}}", tuple(f"{theirs}{part}.{{}}" for part in _QKV)),
        _one(f"{ours}out_proj.{{}}", f"{theirs}out_proj.{{}}"),
    )


def _layer(ours: str, theirs: str) -> Rename:
    return _one(f"query_decoder.layers.{{}}.{ours}.{{}}", f"{_DECODER}layers.{{}}.{theirs}.{{}}")


HEAD = (
    _one("pixel_decoder.top.{}.{}", f"{_FPN}stem.{{}}.{{}}"),
    *(_one(f"pixel_decoder.laterals.{i}.{{}}.{{}}", f"{_FPN}layers.{2 - i}.proj.{{}}.{{}}") for i in range(3)),
    *(_one(f"pixel_decoder.outputs.{i}.{{}}.{{}}", f"{_FPN}layers.{2 - i}.block.{{}}.{{}}") for i in range(3)),
    _one("pixel_decoder.embed.{}", "model.pixel_level_module.decoder.mask_projection.{}"),
    _one("query_decoder.project.{}", "model.transformer_module.input_projection.{}"),
    _one("query_decoder.queries.{}", "model.transformer_module.queries_embedder.{}"),
    _one("query_decoder.norm.{}", f"{_DECODER}layernorm.{{}}"),
    *_attention("self_attention", "self_attn"),
    *_attention("cross_attention", "encoder_attn"),
    _layer("linear1", "fc1"),
    _layer("linear2", "fc2"),
    _layer("norm1", "self_attn_layer_norm"),
    _layer("norm2", "encoder_attn_layer_norm"),
    _layer("norm3", "final_layer_norm"),
    _one("head.classify.{}", "class_predictor.{}"),
    _one("head.mask_embed.{}.{}", "mask_embedder.{}.0.{}"),
)


def _resnet_stage(stage: int) -> tuple[Rename, ...]:
    ours, theirs = f"backbone.net.layer{stage + 1}.{{}}.", f"{_ENCODER}encoder.stages.{stage}.layers.{{}}."
    return (
        *(_one(f"{ours}conv{i + 1}.{{}}", f"{theirs}layer.{i}.convolution.{{}}") for i in range(3)),
        *(_one(f"{ours}bn{i + 1}.{{}}", f"{theirs}layer.{i}.normalization.{{}}") for i in range(3)),
        _one(f"{ours}downsample.0.{{}}", f"{theirs}shortcut.convolution.{{}}"),
        _one(f"{ours}downsample.1.{{}}", f"{theirs}shortcut.normalization.{{}}"),
    )


RESNET = (
    _one("backbone.net.conv1.{}", f"{_ENCODER}embedder.embedder.convolution.{{}}"),
    _one("backbone.net.bn1.{}", f"{_ENCODER}embedder.embedder.normalization.{{}}"),
    *(rename for stage in range(4) for rename in _resnet_stage(stage)),
)


def _swin_block(ours: str, theirs: str) -> Rename:
    return _one(
        f"backbone.net.layers_{{}}.blocks.{{}}.{ours}", f"{_ENCODER}model.encoder.layers.{{}}.blocks.{{}}.{theirs}"
    )


SWIN = (
    _one("backbone.net.patch_embed.proj.{}", f"{_ENCODER}model.embeddings.patch_embeddings.projection.{{}}"),
    _one("backbone.net.patch_embed.norm.{}", f"{_ENCODER}model.embeddings.norm.{{}}"),
    _swin_block("norm1.{}", "layernorm_before.{}"),
    _swin_block("norm2.{}", "layernorm_after.{}"),
    _swin_block("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    Rename(
        "backbone.net.layers_{}.blocks.{}.attn.qkv.{}",
        tuple(
            f"{_ENCODER}model.encoder.layers.{{}}.blocks.{{}}.attention.self.{part}.{{}}"
            for part in ("query", "key", "value")
        ),
    ),
    _swin_block("attn.proj.{}", "attention.output.dense.{}"),
    _swin_block("mlp.fc1.{}", "intermediate.dense.{}"),
    _swin_block("mlp.fc2.{}", "output.dense.{}"),
    *(  # theirs merges patches at the end of a stage, timm's at the start of the next one
        _one(
            f"backbone.net.layers_{stage + 1}.downsample.{{}}.{{}}",
            f"{_ENCODER}model.encoder.layers.{stage}.downsample.{{}}.{{}}",
        )
        for stage in range(3)
    ),
    _one("backbone.norms.{}.{}", f"{_ENCODER}hidden_states_norms.{{}}.{{}}"),
)

TABLES = {"resnet": (*RESNET, *HEAD), "swin": (*SWIN, *HEAD)}
"""Names by family of the backbone."""

IN_MEMORY = (
    (r"(self_attn|encoder_attn)\.o_proj\.", r"\1.out_proj."),
    (r"(decoder\.layers\.\d+)\.mlp\.(fc\d)\.", r"\1.\2."),
)
"""What transformers 5 calls the same tensors in memory: pattern and stored spelling."""

UNUSED = re.compile(
    r"criterion\.empty_weight|.*\.relative_position_index|model\.pixel_level_module\.encoder\.model\.layernorm\.\w+"
)
"""Stored tensors that hold nothing learned or are not used by the network."""
