"""ONNX and torch.export: writing a file with its metadata, and running it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weakshot_seg import __version__
from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting.graph import AXES, INPUT, OUTPUTS
from weakshot_seg.training.module import WeakShotModule

METADATA_FILE = "metadata.json"
"""Name of the metadata in a ``.pt2`` file (``extra_files``)."""

Images = NDArray[Any]
"""RGB 0..255 ``[B, 3, H, W]``, of the type that the file takes."""
Run = Callable[[Images], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Images -> labels ``[B, H, W]`` and scores ``[B, K, H, W]``."""


@dataclass(frozen=True)
class Metadata:
    """Stored in an exported file.

    Attributes:
        class_names: ``K`` names, by class id.
        novel: ``K`` flags, by class id: learned from tags instead of masks.
        input_type: Of ``images`` ``[B, 3, H, W]``: "uint8" or "float32".
        mean: By channel, for images in 0..1.
        std: By channel, for images in 0..1.
        short_edge: Length to resize the shorter edge of an image to; None: its own.
        max_size: Limit of the longer edge then; None: no limit.
        step: Optimiser steps of the training.
        input_range: Of the values of ``images``.
        color_order: Of their channels.
        normalised_inside: The graph itself computes ``(images / 255 - mean) / std``: give it none of that.
        outputs: What each output is.
        weakshot_seg: Version of this library.
    """

    class_names: tuple[str, ...]
    novel: tuple[bool, ...]
    input_type: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_edge: int | None
    max_size: int | None
    step: int
    input_range: tuple[int, int] = (0, 255)
    color_order: str = "RGB"
    normalised_inside: bool = True
    outputs: tuple[str, ...] = (
        "labels: uint8 [B, H, W], class id of every pixel",
        "scores: float32 [B, K, H, W], at least 0, seldom above 1, not normalised over the classes",
    )
    weakshot_seg: str = __version__

    @classmethod
    def of(cls, module: WeakShotModule, input_type: str) -> Metadata:
        """Of a trained module; for ``input_type`` see the class."""
        resizing = module.recipe.data["val_transform"]
        return cls(
            class_names=module.class_split.names,
            novel=tuple(module.class_split.is_novel().tolist()),
            input_type=input_type,
            mean=tuple(module.model.mean.flatten().tolist()),
            std=tuple(module.model.std.flatten().tolist()),
            short_edge=resizing.get("short_edge"),
            max_size=resizing.get("max_size"),
            step=module.trained_steps,
        )


@dataclass(frozen=True)
class Format:
    """How to write and run one kind of file.

    Attributes:
        suffix: Of the file.
        packages: Needed beside PyTorch (extra ``export``).
        write: Writes a program with its metadata.
        load: Gives the function in a file, on the CPU with as many threads as PyTorch has.
    """

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[torch.export.ExportedProgram, Metadata, Path], None]
    load: Callable[[Path], Run]


def find_format(name: str) -> Format:
    """A format by its name.

    Raises:
        ConfigError: it needs packages that are not installed.
    """
    missing = [package for package in FORMATS[name].packages if find_spec(package) is None]
    if missing:
        raise ConfigError(f"format={name} needs {', '.join(missing)}: pip install -e '.[export]'")
    return FORMATS[name]


def write_onnx(program: torch.export.ExportedProgram, metadata: Metadata, path: Path) -> None:
    """Writes one ONNX file; every field of the metadata is an entry of ``metadata_props``, as JSON."""
    import onnx

    for library in ("onnxscript", "onnx_ir"):  # their optimisers log everything they change or leave as it is
        logging.getLogger(library).setLevel(logging.ERROR)
    converted = torch.onnx.export(
        program,
        (),
        dynamo=True,
        verbose=False,
        external_data=False,
        input_names=[INPUT],
        output_names=OUTPUTS,
        dynamic_shapes=(AXES,),
    )
    assert converted is not None
    model = converted.model_proto
    properties = {key: json.dumps(value, ensure_ascii=False) for key, value in asdict(metadata).items()}
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def load_onnx(path: Path) -> Run:
    """See :class:`Format`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    def run(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, scores = session.run(OUTPUTS, {INPUT: images})
        return labels, scores

    return run


def write_torch_export(program: torch.export.ExportedProgram, metadata: Metadata, path: Path) -> None:
    """Writes a ``.pt2`` file; the metadata are JSON in its extra file :data:`METADATA_FILE`."""
    # guards and limits keep out lengths of 1 (of the batch, of the deepest features) for their memory layout alone
    program._guards_code = []
    for symbol, limits in program.range_constraints.items():
        program.range_constraints[symbol] = type(limits)(1, limits.upper)
    file = BytesIO()  # a path would have to end with .pt2
    with warnings.catch_warnings():  # of weights in the layout "channels last", which are kept as they are
        warnings.filterwarnings("ignore", "No complete tensor found")
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(asdict(metadata), ensure_ascii=False)})
    path.write_bytes(file.getvalue())


def load_torch_export(path: Path) -> Run:
    """See :class:`Format`."""
    module = torch.export.load(BytesIO(path.read_bytes())).module()

    @torch.inference_mode()
    def run(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, scores = module(torch.from_numpy(images))
        return labels.numpy(), scores.numpy()

    return run


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, load_onnx),
    "torch_export": Format(".pt2", (), write_torch_export, load_torch_export),
}
