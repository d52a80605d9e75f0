"""ONNX, torch.export and OpenVINO: writing files with their metadata, and running them."""

import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weakshot_seg import __version__
from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting.graph import AXES, INPUT, OUTPUTS
from weakshot_seg.training.module import WeakShotModule

Metadata = dict[str, Any]
METADATA_FILE = "metadata.json"  # in a ``.pt2`` file (``extra_files``)
RUNTIME_INFO = "weakshot_seg"  # of an OpenVINO file (``rt_info``): where its metadata are

Images = NDArray[Any]
"""RGB 0..255 ``[B, 3, H, W]``, of the type that the file takes."""
Run = Callable[[Images], tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Images -> labels ``[B, H, W]`` and scores ``[B, K, H, W]``."""


def make_metadata(module: WeakShotModule, input_type: str) -> Metadata:
    """What an exported file says of itself, in plain containers; ``input_type`` is "uint8" or "float32"."""
    resizing = module.recipe.data["val_transform"]
    return {
        "class_names": list(module.class_split.names),
        "novel": module.class_split.is_novel().tolist(),  # learned from tags instead of masks
        "input_type": input_type,
        "input_range": [0, 255],
        "color_order": "RGB",
        "normalised_inside": True,  # the graph computes (images / 255 - mean) / std: give it none of that
        "mean": module.model.mean.flatten().tolist(),  # by channel, for images in 0..1
        "std": module.model.std.flatten().tolist(),
        "short_edge": resizing.get("short_edge"),  # to resize the shorter edge of an image to; None: its own
        "max_size": resizing.get("max_size"),  # limit of the longer edge then; None: no limit
        "outputs": [
            "labels: uint8 [B, H, W], class id of every pixel",
            "scores: float32 [B, K, H, W], at least 0, seldom above 1, not normalised over the classes",
        ],
        "step": module.trained_steps,  # of the optimiser
        "weakshot_seg": __version__,
    }


@dataclass(frozen=True)
class Format:
    """How to write a program with its metadata, and to load it for the CPU with as many threads as PyTorch has.

    There is a path for each of ``suffixes``. ``packages`` are needed beside PyTorch (``extra``).
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[..., None]  # ExportedProgram, Metadata, *paths
    load: Callable[..., Run]  # *paths
    extra: str = "export"


def find_format(name: str, int8: bool = False) -> Format:
    """A format; a ConfigError if it needs packages that are not installed, or has no 8 bits."""
    if int8 and name != "openvino":
        raise ConfigError(f"int8=PHOTOS needs format=openvino, not format={name}")
    found = FORMATS[name]
    missing = [package for package in found.packages if find_spec(package) is None]
    if missing:
        raise ConfigError(f"format={name} needs {', '.join(missing)}: pip install -e '.[{found.extra}]'")
    return found


def _write_onnx(program: torch.export.ExportedProgram, metadata: Metadata, path: Path) -> None:
    """Writes one ONNX file; every field of the metadata is an entry of ``metadata_props``, as JSON."""
    import onnx

    model = _to_onnx(program)
    onnx.helper.set_model_props(model, _as_json(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _as_json(metadata: Metadata) -> dict[str, str]:
    return {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}


def _to_onnx(program: torch.export.ExportedProgram) -> Any:
    for library in ("onnxscript", "onnx_ir"):  # their optimisers log everything they change or leave as it is
        logging.getLogger(library).setLevel(logging.ERROR)
    names: dict[str, Any] = {"input_names": [INPUT], "output_names": OUTPUTS, "dynamic_shapes": (AXES,)}
    converted = torch.onnx.export(program, (), dynamo=True, verbose=False, external_data=False, **names)
    assert converted is not None
    return converted.model_proto


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    return lambda images: session.run(OUTPUTS, {INPUT: images})


def _write_torch_export(program: torch.export.ExportedProgram, metadata: Metadata, path: Path) -> None:
    """Writes a ``.pt2`` file; the metadata are JSON in its extra file :data:`METADATA_FILE`."""
    # guards and limits keep out lengths of 1 (of the batch, of the deepest features) for their memory layout alone
    program._guards_code = []
    for symbol, limits in program.range_constraints.items():
        program.range_constraints[symbol] = type(limits)(1, limits.upper)
    file = BytesIO()  # a path would have to end with .pt2
    with warnings.catch_warnings():  # of weights in the layout "channels last", which are kept as they are
        warnings.filterwarnings("ignore", "No complete tensor found")
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(metadata, ensure_ascii=False)})
    path.write_bytes(file.getvalue())


def _load_torch_export(path: Path) -> Run:
    module = torch.export.load(BytesIO(path.read_bytes())).module()

    @torch.inference_mode()
    def run(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, scores = module(torch.from_numpy(images))
        return labels.numpy(), scores.numpy()

    return run


def _openvino() -> Any:
    # importing it sends a message to its makers, and so does NNCF; without their package for that they send none
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _write_openvino(
    program: torch.export.ExportedProgram, metadata: Metadata, path: Path, weights: Path, photos: Sequence[Images] = ()
) -> None:
    """Writes what OpenVINO makes of the ONNX file, the metadata in ``rt_info``; in 8 bits if there are ``photos``.

    Those, ``[1, 3, H, W]`` as the file takes them, say which values occur.
    """
    openvino = _openvino()
    model = openvino.Core().read_model(_to_onnx(program).SerializeToString(), b"")
    if photos:
        model = _quantised(model, photos)
    for key, value in _as_json(metadata).items():
        model.set_rt_info(value, [RUNTIME_INFO, key])
    with TemporaryDirectory() as folder:  # it would not write under the names of temporary files
        openvino.save_model(model, Path(folder, "model.xml"), compress_to_fp16=False)
        shutil.move(Path(folder, "model.xml"), path)
        shutil.move(Path(folder, "model.bin"), weights)


def _quantised(model: Any, photos: Sequence[Images]) -> Any:
    """Weights and activations of convolutions and matrix products in 8 bits, where NNCF thinks that they bear it."""
    import nncf

    # "transformer" leaves sums, means and the normalisation of groups alone
    dataset, kind = nncf.Dataset(list(photos)), nncf.ModelType.TRANSFORMER
    return nncf.quantize(model, dataset, subset_size=len(photos), model_type=kind)


def _load_openvino(path: Path, weights: Path) -> Run:
    """Computes in float32 also on CPUs for which OpenVINO would choose bfloat16."""
    core = _openvino().Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(path, weights), "CPU", settings)

    def run(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = model(images)
        return found["labels"], found["scores"]

    return run


FORMATS = {
    "onnx": Format((".onnx",), ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _load_onnx),
    "torch_export": Format((".pt2",), (), _write_torch_export, _load_torch_export),
    "openvino": Format(
        (".xml", ".bin"), ("onnx", "onnxscript", "openvino", "nncf"), _write_openvino, _load_openvino, "openvino"
    ),
}
