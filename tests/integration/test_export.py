"""Exported files of real checkpoints: what they compute in other runtimes, their metadata, and what is refused."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

import weakshot_seg
from pages import blocks
from weakshot_seg.checkpoints.building import build_module, load_module
from weakshot_seg.checkpoints.reading import read_model
from weakshot_seg.cli import export
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError
from weakshot_seg.exporting import formats

Command = Callable[..., None]
Refusal = Callable[..., str]


def report_of(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.with_name(f"{file.name}.json").read_text())
    return content


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Of a size that no stride divides."""
    scene = SyntheticScenes("validation", 1, size=64).load(0)[0]
    return Image.fromarray(scene).resize((75, 53))


@pytest.fixture(scope="module")
def onnx_file(command: Command, eager: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with class queries and masked attention."""
    folder = tmp_path_factory.mktemp("onnx")
    command(export.main, f"ckpt={eager}", "num_images=2", "benchmark=true", folder=folder)
    return folder / "model.onnx"


def test_onnx_gives_what_predict_gives(onnx_file: Path, eager: Path, photo: Image.Image) -> None:
    session = onnxruntime.InferenceSession(onnx_file)
    batch = np.stack([np.asarray(photo), np.asarray(photo)[::-1], 255 - np.asarray(photo)])
    labels, scores = session.run(["labels", "scores"], {"images": batch.transpose(0, 3, 1, 2)})
    assert labels.dtype == np.uint8
    assert scores.dtype == np.float32
    for found, found_scores, image in zip(labels, scores, batch, strict=True):
        expected = weakshot_seg.load(eager, "cpu").predict(image)
        assert len(expected.classes) > 1
        assert (found == expected.labels).mean() > 0.999
        for name, plane in zip(expected.split.names, found_scores, strict=True):
            np.testing.assert_allclose(plane, expected.scores(name), rtol=0, atol=1e-4)


def test_metadata_and_report_of_an_onnx_file(onnx_file: Path, eager: Path) -> None:
    module = load_module(eager)
    session = onnxruntime.InferenceSession(onnx_file)
    about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about["class_names"] == list(module.class_split.names)
    assert [i for i, novel in enumerate(about["novel"]) if novel] == list(module.class_split.novel)
    for name in ("mean", "std"):
        assert about[name] == pytest.approx(getattr(module.model, name).flatten().tolist())
    assert (about["input_type"], about["input_range"], about["color_order"]) == ("uint8", [0, 255], "RGB")
    assert (about["normalised_inside"], about["short_edge"], about["max_size"]) == (True, None, None)
    assert (about["step"], about["weakshot_seg"]) == (4, weakshot_seg.__version__)
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["batch", 3, "height", "width"])
    shapes = {output.name: output.shape for output in session.get_outputs()}
    assert shapes == {"labels": ["batch", "height", "width"], "scores": ["batch", 16, "height", "width"]}

    report = report_of(onnx_file)
    assert (report["passed"], report["file"]) == (True, "model.onnx")
    assert report["compared_on"] == "2 of 4 validation images"
    assert report["max_difference"] == max(batch["max_difference"] for batch in report["batches"]) < 1e-4
    assert report["argmax_agreement"] == min(batch["argmax_agreement"] for batch in report["batches"]) > 0.999
    assert report["versions"]["onnxruntime"] == onnxruntime.__version__
    assert report["speed"]["ratio"] > 0


def run_snippet(code: str, folder: Path) -> Any:
    """Runs code as a script of its own in ``folder``; gives what ``labels`` is then."""
    (folder / "snippet.py").write_text(f"{code}\nnp.save('labels.npy', labels)\n", encoding="utf-8")
    subprocess.run([sys.executable, "snippet.py"], cwd=folder, check=True, capture_output=True, text=True)
    return np.load(folder / "labels.npy")


def test_the_snippet_of_the_pages_needs_onnxruntime_alone(
    onnx_file: Path, eager: Path, photo: Image.Image, tmp_path: Path
) -> None:
    (code,) = (block.text for block in blocks("python") if "import onnxruntime" in block.text)
    modules = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    assert sorted(modules) == ["PIL", "json", "numpy", "onnxruntime"]
    (tmp_path / "model.onnx").write_bytes(onnx_file.read_bytes())
    photo.save(tmp_path / "photo.jpg", quality=95)
    expected = weakshot_seg.load(eager, "cpu").predict(tmp_path / "photo.jpg")
    assert (run_snippet(code, tmp_path) == expected.labels).mean() > 0.999

    model = onnx.load(onnx_file)  # another size for the network: the labels still are of the size of the photo
    about = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**about, "short_edge": "106", "max_size": "140"})
    onnx.save(model, tmp_path / "model.onnx")
    larger = run_snippet(code, tmp_path)
    assert larger.shape == expected.labels.shape
    assert (larger != expected.labels).any()


@pytest.fixture(scope="module")
def paper(eager: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with the paper's decoder and more queries than classes, its weights random."""
    saved = read_model(eager)
    saved.recipe.model.update(memory="backbone", memory_stride=32, masked_attention=False, num_queries=20, num_layers=1)
    module = build_module(saved.recipe, saved.class_split)
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 2}
    module.on_save_checkpoint(checkpoint)
    path = tmp_path_factory.mktemp("paper") / "paper.ckpt"
    torch.save(checkpoint, path)
    return path


def test_torch_export_of_the_papers_decoder(command: Command, paper: Path, photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    arguments = (f"ckpt={paper}", "format=torch_export", "out=sub/model.pt2", "check_images=photo.png")
    command(export.main, *arguments, "input_type=float32", folder=tmp_path)
    file = tmp_path / "sub" / "model.pt2"
    report = report_of(file)
    assert (report["passed"], report["compared_on"]) == (True, "1 of 1 given images")
    assert (report["batches"][0]["width"], report["batches"][0]["height"]) == photo.size

    extra = {"metadata.json": ""}
    program = torch.export.load(file, extra_files=extra)
    about = json.loads(extra["metadata.json"])
    assert (about["input_type"], len(about["class_names"])) == ("float32", 16)
    images = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    labels, scores = program.module()(images)
    expected = weakshot_seg.load(paper, "cpu").predict(photo)
    assert (labels[0].numpy() == expected.labels).mean() > 0.999
    np.testing.assert_allclose(scores[0, 3].detach(), expected.scores(expected.split.names[3]), rtol=0, atol=1e-5)


class Colours(nn.Module):
    """Classes by colour and surroundings, much faster to quantise than a network."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 16, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.look(images.float() / 255).sigmoid()
        return scores.argmax(1).to(torch.uint8), scores


def test_openvino_in_8_bits(
    command: Command, eager: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not (find_spec("openvino") and find_spec("nncf")):  # importing it would send what is not to be sent
        pytest.skip("openvino and nncf are not installed")
    graph = Colours()
    monkeypatch.setattr(export, "SegmentationGraph", lambda network: graph)
    photo.save(tmp_path / "photo.png")
    settings = ("format=openvino", "int8=photo.png", "out=herons.xml", "check_images=photo.png", "min_agreement=0")
    command(export.main, f"ckpt={eager}", *settings, folder=tmp_path)
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {"photo.png", "herons.xml", "herons.bin", "herons.xml.json"}
    weights = sum(p.numel() for p in graph.parameters() if p.dim() > 1)
    assert weights < written["herons.bin"] < 2 * weights  # a byte each, and four for each bias and scale
    report = report_of(tmp_path / "herons.xml")
    assert (report["passed"], report["calibrated_on"]) == (True, "1 of 1 given images")
    assert report["tolerance"]["max_difference"] is None
    assert report["versions"]["openvino"] == version("openvino")
    assert sys.modules["openvino_telemetry"] is None  # nothing is sent

    (code,) = (block.text for block in blocks("python") if "import openvino" in block.text)
    images = np.array(photo).transpose(2, 0, 1)[None]
    found: dict[str, Any] = {"images": images}
    monkeypatch.chdir(tmp_path)
    exec(code.replace("model.xml", "herons.xml"), found)
    assert found["about"]["class_names"] == list(load_module(eager).class_split.names)
    labels, scores = graph(torch.from_numpy(images))
    difference = np.abs(found["scores"] - scores.detach().numpy()).max()
    assert 1e-5 < difference < 0.05  # 8 bits, and not more
    assert (found["labels"] == labels.numpy()).mean() > 0.9


class Constant(nn.Module):
    """The same scores whatever the image shows, and fast to export."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = images[:, :1].float().repeat(1, 16, 1, 1) * 0
        return scores.argmax(1).to(torch.uint8), scores


def test_a_file_that_disagrees_is_rejected(
    command: Command, eager: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "SegmentationGraph", lambda network: Constant())
    (tmp_path / "model.pt2").write_text("the former one")
    with pytest.raises(SystemExit) as caught:
        command(export.main, f"ckpt={eager}", "format=torch_export", "num_images=1", folder=tmp_path)
    assert caught.value.code == 1
    assert "model.pt2 was not written" in capsys.readouterr().out
    assert (tmp_path / "model.pt2").read_text() == "the former one"
    report = report_of(tmp_path / "model.pt2.rejected")
    assert not report["passed"]
    assert report["max_difference"] > 1e-3
    assert torch.export.load(tmp_path / "model.pt2.rejected")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"model.pt2", "model.pt2.rejected", "model.pt2.rejected.json"}


def test_generated_scenes_serve_where_the_images_of_the_model_are_not(
    eager: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = load_module(eager)
    del module.recipe.data["_target_"]  # as in a model folder
    settings = OmegaConf.create({"ckpt": "herons", "check_images": None, "num_images": 3})
    origin, photos = export.photos_of(settings, module)
    assert (origin, len(photos)) == ("3 of 3 generated scenes", 3)
    assert "better: check_images=DIR" in caplog.text


@pytest.mark.parametrize(
    ("setting", "culprit"),
    [
        ("format=tflite", "one of onnx, torch_export, openvino"),
        ("int8=photos", "int8=PHOTOS needs format=openvino, not format=onnx"),
        ("out=.", "out=. is a folder"),
        ("time_limit=0", "time_limit=0 must be a number (more than 0"),
        ("check_images=[nowhere/*.png]", "check_images=nowhere/*.png: no such file"),
        ("ckpt=absent.ckpt", "ckpt=absent.ckpt: no such file"),
    ],
)
def test_what_cannot_work_is_refused(setting: str, culprit: str, refusal: Refusal, eager: Path) -> None:
    assert culprit in refusal(export.main, f"ckpt={eager}", setting)


def test_an_openvino_file_is_called_so(refusal: Refusal, eager: Path) -> None:
    message = refusal(export.main, f"ckpt={eager}", "format=openvino", "out=model.onnx")
    assert "out=model.onnx must end with .xml; .bin comes beside it" in message


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("onnx", "onnxscript", "export"), ("openvino", "nncf", "openvino")]
)
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(ConfigError, match=rf"^format={name} needs {package}: pip install -e '\.\[{extra}\]'$"):
        formats.find_format(name)
