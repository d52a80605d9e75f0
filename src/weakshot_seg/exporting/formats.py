"""ONNX and torch.export: writing a file with its metadata, and running it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import weakshot_seg
from weakshot_seg.errors import ConfigError
from weakshot_seg.inference.graph import SegmentationGraph
from weakshot_seg.lightning_module import WeakShotModule

METADATA_FILE = "weakshot_seg.json"
"""Name of the metadata in a ``.pt2`` file (``extra_files``)."""

Run = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Images uint8 ``[B, 3, H, W]`` -> the output of the graph."""


@dataclass(frozen=True)
class Metadata:
    """What a file says of itself. In ONNX every field is an entry of ``metadata_props``, as JSON.

    Attributes:
        class_names: By class id.
        novel: Names of the novel classes.
        input: What the graph takes.
        output: What it gives.
        mean: Normalisation within the graph, for images in 0..1.
        std: The same.
        short_edge: Length that the shorter edge of an image was resized to in evaluation; None: not resized.
        max_size: Limit of the longer edge then; None: no limit.
        step: Optimiser steps of the training.
        version: Of weakshot_seg.
    """

    class_names: list[str]
    novel: list[str]
    input: str
    output: str
    mean: list[float]
    std: list[float]
    short_edge: int | None
    max_size: int | None
    step: int
    version: str

    @classmethod
    def of(cls, module: WeakShotModule, output: str) -> Metadata:
        """Of a trained module."""
        resizing = module.recipe["data"]["val_transform"]
        kinds = {"labels": "uint8 [B, H, W], class ids", "scores": "float32 [B, K, H, W], at least 0, not normalised"}
        return cls(
            class_names=list(module.class_split.names),
            novel=list(module.class_split.novel_names),
            input="uint8 [B, 3, H, W], RGB, any size; normalisation and padding are in the graph",
            output=f"{output}: {kinds[output]}",
            mean=module.model.mean.flatten().tolist(),
            std=module.model.std.flatten().tolist(),
            short_edge=resizing.get("short_edge"),
            max_size=resizing.get("max_size"),
            step=module.trained_steps,
            version=weakshot_seg.__version__,
        )


@dataclass(frozen=True)
class Format:
    """How to write a file and how to run it."""

    suffix: str
    write: Callable[[SegmentationGraph, Metadata, Path], None]
    load: Callable[[Path], Run]


def traced(graph: SegmentationGraph) -> torch.export.ExportedProgram:
    """The graph for any batch and image size."""
    any_size = torch.export.Dim.DYNAMIC
    example = torch.zeros(2, 3, 104, 136, dtype=torch.uint8)  # sizes 1 and multiples of 32 would be taken for constants
    with torch.no_grad():
        return torch.export.export(graph, (example,), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},))


def write_onnx(graph: SegmentationGraph, metadata: Metadata, path: Path) -> None:
    """Writes an ONNX file with input ``images`` and one output named as the graph's.

    Raises:
        ConfigError: the packages are not installed.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"format=onnx needs {error.name}: pip install 'weakshot-seg[export]'") from error
    logging.getLogger("onnxscript").setLevel(logging.WARNING)
    names = {"input_names": ["images"], "output_names": [graph.output]}
    program = torch.onnx.export(traced(graph), (), dynamo=True, verbose=False, external_data=False, **names)
    assert program is not None
    model = program.model_proto
    tensors = (model.graph.input[0], model.graph.output[0])
    for tensor in tensors:
        axes = tensor.type.tensor_type.shape.dim
        for axis, name in zip((axes[0], axes[-2], axes[-1]), ("batch", "height", "width"), strict=True):
            axis.dim_param = name
    props = {key: json.dumps(value) for key, value in asdict(metadata).items()}
    onnx.helper.set_model_props(model, props)
    path.write_bytes(model.SerializeToString())


def load_onnx(path: Path) -> Run:
    """Runs a file in onnxruntime on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def write_torch_export(graph: SegmentationGraph, metadata: Metadata, path: Path) -> None:
    """Writes a ``.pt2`` file; the metadata are JSON in its extra file :data:`METADATA_FILE`."""
    file = BytesIO()
    torch.export.save(traced(graph), file, extra_files={METADATA_FILE: json.dumps(asdict(metadata))})
    path.write_bytes(file.getvalue())


def load_torch_export(path: Path) -> Run:
    """Runs a ``.pt2`` file."""
    module = torch.export.load(BytesIO(path.read_bytes())).module()

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(images)))

    return run


FORMATS = {
    "onnx": Format(".onnx", write_onnx, load_onnx),
    "torch_export": Format(".pt2", write_torch_export, load_torch_export),
}
