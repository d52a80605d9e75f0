"""Trained models and weights with changes, compared with what they held, or with what NumPy reads."""

import io
import json
import pickle
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import timm
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save
from torch import Tensor

from fuzzing.mutations import bytes_changed, json_changed
from fuzzing.verdict import Refused, require
from weakshot_seg.checkpoints.building import build_module, module_of
from weakshot_seg.checkpoints.reading import read_model
from weakshot_seg.checkpoints.trusted_targets import PARTS
from weakshot_seg.config.compose import conf_dir, plain
from weakshot_seg.conversion.safe_pickle import load_pickle
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import VERSION, Recipe

NETWORK = "test_resnet"
"""timm's own toy."""
SETTINGS = (
    f"model.backbone.name={NETWORK} model.backbone.pretrained=false model.dim=32 model.pixel_dim=32 model.num_layers=1 "
    "model.embedding_dim=8 model.num_heads=2 model.ffn_dim=8 loss.terms.similarity.simnet.hidden_dim=8"
).split()
NAMES = ("heron", "reed", "lake")
BUILT = 0.05
"""Of the models that can be read, this share is built."""


@cache
def _content() -> dict[str, Any]:
    """What a checkpoint of a small model holds."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        settings = {part: plain(compose("train", SETTINGS)[part]) for part in PARTS}
    torch.manual_seed(0)
    module = build_module(Recipe.from_dict(settings), ClassSplit(NAMES, (1,)))
    ours = {"version": VERSION, "recipe": module.recipe.to_dict(), "class_names": list(NAMES), "novel": [1]}
    return {"weakshot_seg": ours, "state_dict": module.state_dict(), "global_step": 7}


@cache
def _file() -> bytes:
    return _saved(_content())


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def checkpoint(rng: Random, folder: Path) -> None:
    """Weights are those that were saved; so are names, unless they were changed."""
    path, names = folder / "last.ckpt", list(NAMES)
    if rng.random() < 0.5:
        path.write_bytes(bytes_changed(rng, _file()))
    else:
        ours = json.loads(json_changed(rng, json.dumps(_content()["weakshot_seg"]).encode()))
        names = ours.get("class_names")
        path.write_bytes(_saved(_content() | {"weakshot_seg": ours}))
    with Refused.expected(path):
        model = read_model(path)
        require(list(model.class_split.names) == names, f"the classes are {model.class_split.names}, not {names}")
        _compare(model.state, _content()["state_dict"])
        if rng.random() < BUILT:
            module_of(model, path)


def model_folder(rng: Random, folder: Path) -> None:
    """Weights are those of the file, which has no checksum."""
    content = _content()
    network = {name: tensor.contiguous() for name, tensor in content["state_dict"].items() if name.startswith("model.")}
    config = json.dumps(content["weakshot_seg"] | {"format": VERSION, "step": 7}).encode()
    weights = save(network)
    if rng.random() < 0.5:
        config = json_changed(rng, config) if rng.random() < 0.7 else bytes_changed(rng, config)
    else:
        length = 8 + int.from_bytes(weights[:8], "little")  # of the header; the rest is numbers
        weights = bytes_changed(rng, weights[:length]) + weights[length:]
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(weights)
    with Refused.expected(folder):
        model = read_model(folder)
        require(list(model.class_split.names) == json.loads(config)["class_names"], "the classes are others")
        _compare(model.state, _by_numpy(weights))
        if rng.random() < BUILT:
            module_of(model, folder)


def _by_numpy(content: bytes) -> Mapping[str, Tensor]:
    """The tensors of a safetensors file, by its description."""
    length = 8 + int.from_bytes(content[:8], "little")
    kinds = {"F32": np.float32, "I64": np.int64, "U8": np.uint8, "F16": np.float16, "I32": np.int32, "F64": np.float64}
    tensors = {}
    for name, entry in json.loads(content[8:length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            numbers = np.frombuffer(content[length + start : length + end], kinds[entry["dtype"]])
            tensors[name] = torch.from_numpy(numbers.reshape(entry["shape"]).copy())
    return tensors


def _compare(mine: Mapping[str, Any], truth: Mapping[str, Tensor]) -> None:
    require(mine.keys() == truth.keys(), f"other tensors: {mine.keys() ^ truth.keys()}")
    for name, tensor in truth.items():
        same = mine[name].dtype == tensor.dtype and mine[name].shape == tensor.shape
        require(same and mine[name].numpy().tobytes() == tensor.numpy().tobytes(), f"{name} has other values")


@cache
def _pickles() -> tuple[bytes, ...]:
    rng = np.random.default_rng(0)
    arrays = {"model": {"a.weight": rng.normal(size=(2, 3)).astype("f4"), "b": np.arange(4)}, "__author__": "x"}
    return tuple(pickle.dumps(deepcopy(arrays), protocol) for protocol in (0, 2, 4, 5))


def detectron2(rng: Random, folder: Path) -> None:
    """Nothing but plain containers and arrays."""
    path = folder / "model.pkl"
    path.write_bytes(bytes_changed(rng, rng.choice(_pickles())))
    with Refused.expected(path):
        load_pickle(path)


@cache
def _backbones() -> Mapping[str, bytes]:
    torch.manual_seed(0)
    state = timm.create_model(NETWORK).state_dict()
    return {".pth": _saved(state), ".safetensors": save(state)}


def backbone(rng: Random, folder: Path) -> None:
    """The network is whole, and without NaN."""
    suffix = rng.choice(sorted(_backbones()))
    path, content = folder / f"weights{suffix}", _backbones()[suffix]
    if suffix == ".safetensors" and rng.random() < 0.5:
        length = 8 + int.from_bytes(content[:8], "little")
        content = bytes_changed(rng, content[:length]) + content[length:]
    else:
        content = bytes_changed(rng, content)
    path.write_bytes(content)
    with Refused.expected(path):
        network = TimmBackbone(NETWORK, checkpoint=str(path))
    truth = torch.load(io.BytesIO(_backbones()[".pth"]), weights_only=True)
    mine = {name: tensor for name, tensor in network.net.state_dict().items() if tensor.is_floating_point()}
    if suffix == ".pth":
        changed = [name for name in mine if not torch.equal(mine[name], truth[name])]
        require(not changed, f"other values: {changed}")
    require(all(bool(tensor.isfinite().all()) for tensor in mine.values()), "there are NaN")
