"""Conversion from detectron2's files of SimFormer and MaskFormer."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import weakshot_seg
from weakshot_seg.checkpoints.building import load_module, start_from
from weakshot_seg.conversion.detectron2 import TABLE, from_detectron2
from weakshot_seg.conversion.matching import match, to_theirs
from weakshot_seg.conversion.sizes import model_settings, num_classes, simnet_settings
from weakshot_seg.data.splits import make_split, published_class_names
from weakshot_seg.models.backbone import TimmBackbone
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.models.simnet import SimNet

FULL = sorted((Path(__file__).parents[1] / "parity").glob("state_dict_*_R50.json"))
State = dict[str, Tensor]
Convert = Callable[..., None]


@pytest.fixture(scope="module")
def small() -> nn.Module:
    """A paper-like network with few channels, and its SimNet."""
    backbone = TimmBackbone("resnet50", layers=[1, 1, 2, 1], channels=[4, 8, 16, 32])
    model: nn.Module = SimFormer(150, backbone, 9, 32, 32, 16, num_layers=2, ffn_dim=24)
    model.add_module("simnet", SimNet(16, 12, 2))
    return model.eval()


@pytest.fixture(scope="module")
def authors(small: nn.Module) -> State:
    """Its tensors as the authors' code would store them."""
    frozen = re.compile(r"backbone\..*num_batches_tracked")  # detectron2's frozen BatchNorm has no counter
    ours = {name: tensor for name, tensor in small.state_dict().items() if not frozen.fullmatch(name)}
    theirs, unknown = to_theirs(ours, TABLE)
    assert not unknown
    theirs = {n.replace(".layers.0.l", ".layers.block0.l") if "sim_net" in n else n: t for n, t in theirs.items()}
    return {**theirs, "criterion.empty_weight": torch.ones(151), "criterion.ingore_th": torch.tensor(0.5)}


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_name_and_shape_of_the_full_models(path: Path) -> None:
    """All tensors of the stored lists have a place, and all of ours are filled (no memory is allocated)."""
    entries = json.loads(path.read_text())
    with torch.device("meta"):
        state = {n: torch.empty(e["shape"], dtype=getattr(torch, e["dtype"])) for n, e in entries.items()}
        source = from_detectron2(state)
        settings = model_settings(source.tensors)
        assert settings["backbone"] == {"name": "resnet50", "norm_outputs": False}
        backbone = TimmBackbone(**settings.pop("backbone"))
        model: nn.Module = SimFormer(num_classes(source.tensors) or 0, backbone, **settings)
        if simnet := simnet_settings(source.tensors):
            model.add_module("simnet", SimNet(256, **simnet))
    ours = model.state_dict()
    counters = [name for name in ours if name.startswith("backbone.") and name.endswith("num_batches_tracked")]
    _, report = match(ours, source.tensors, source, counters)
    assert report.complete, report.text()
    assert len(report.matched) + len(report.left_out) == len(entries)
    assert set(report.left_out) == {"criterion.empty_weight", "criterion.ingore_th"}


def test_names_that_the_full_models_lack() -> None:
    for theirs, ours in (
        ("backbone.res4.22.conv3.norm.running_var", "backbone.net.layer3.22.bn3.running_var"),  # ResNet-101
        ("stem.conv1.weight", "backbone.net.conv1.weight"),  # ImageNet weights on their own
        ("backbone.patch_embed.norm.bias", "backbone.net.patch_embed.norm.bias"),
        ("backbone.layers.2.blocks.17.attn.qkv.weight", "backbone.net.layers_2.blocks.17.attn.qkv.weight"),
        ("backbone.layers.1.blocks.0.norm2.weight", "backbone.net.layers_1.blocks.0.norm2.weight"),
        ("backbone.layers.0.downsample.reduction.weight", "backbone.net.layers_1.downsample.reduction.weight"),
        ("backbone.norm3.weight", "backbone.norms.3.weight"),
        ("sem_seg_head.layer_4.norm.weight", "pixel_decoder.top.1.weight"),  # before version 2
        ("module.sem_seg_head.pixel_decoder.adapter_1.weight", "pixel_decoder.laterals.0.0.weight"),
    ):
        assert list(from_detectron2({theirs: torch.zeros(1, 1, 1, 1)}).tensors) == [ours]


def equal(module: nn.Module, small: nn.Module) -> bool:
    """The network and SimNet of a converted module hold exactly the tensors of ``small``."""
    got = {n.removeprefix("model."): t for n, t in module.state_dict().items()}
    got = {n.replace("criterion.terms.similarity.", ""): t for n, t in got.items()}
    return all(torch.equal(got[name], tensor) for name, tensor in small.state_dict().items())


def test_pth(
    authors: State, small: nn.Module, convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what works with the result: loading, predicting, starting a training from it."""
    out, pth = tmp_path / "ours.ckpt", tmp_path / "model_final.pth"
    torch.save({"model": authors, "iteration": 160000, "optimizer": {"state": {}}}, pth)
    overrides = "overrides=['data.root=/data/ade','data.val_transform.short_edge=64']"
    convert(f"source={pth}", f"out={out}", "split=3", overrides)
    printed = capsys.readouterr().out
    for line in (f"{len(authors) - 2:5d} matched", "    0 missing", "    0 unexpected", f"predict ckpt={out} source="):
        assert line in printed
    module = load_module(out)
    assert equal(module, small)
    assert module.class_split == make_split(published_class_names("ade20k"), 3, published="ade20k")
    assert module.recipe.data["root"] == "/data/ade"
    assert module.model.backbone.freeze_norm

    photo = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    assert weakshot_seg.load(out, "cpu").predict(photo).labels.shape == (40, 60)
    for tensor in module.state_dict().values():
        tensor.zero_()
    start_from(module, out)
    assert equal(module, small)


def test_pkl_of_plain_maskformer(authors: State, small: nn.Module, convert: Convert, tmp_path: Path) -> None:
    arrays = {name: tensor.numpy() for name, tensor in authors.items() if "sim_net" not in name}
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(content))
    convert(f"source={tmp_path}/model.pkl", f"out={tmp_path}/ours.ckpt")
    module = load_module(tmp_path / "ours.ckpt")
    assert "similarity" not in module.criterion.terms
    assert all(torch.equal(t, small.state_dict()[n]) for n, t in module.model.state_dict().items())
    assert module.class_split.novel == ()


def test_imagenet_weights_need_the_flag_and_the_classes(
    authors: State, small: nn.Module, convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backbone alone, as the authors start from: the rest stays random."""
    arrays = {n.removeprefix("backbone."): t.numpy() for n, t in authors.items() if n.startswith("backbone.")}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"model": arrays}))
    places = (f"source={tmp_path}/R-50.pkl", f"out={tmp_path}/ours.ckpt")
    sizes = "overrides=['model.dim=16','model.pixel_dim=32','model.num_layers=1','experiment=ade20k']"
    for refused, reason in ((places, "experiment=coco"), ((*places, sizes), "partial=true")):
        with pytest.raises(SystemExit):
            convert(*refused)
        assert reason in capsys.readouterr().err
    convert(*places, sizes, "partial=true")
    backbone = load_module(tmp_path / "ours.ckpt").model.backbone.state_dict()
    expected = {n.removeprefix("backbone."): t for n, t in small.state_dict().items() if n.startswith("backbone.")}
    assert all(torch.equal(backbone[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("nowhere.pth", (), "source=nowhere.pth: no such file"),
        ("model.pth", ("out=two.txt",), "out=two.txt exists already"),
        ("other.pth", (), "other.pth has none of MaskFormer's names (it has fc.weight, ...)"),
        ("empty", (), "config.json (No such file"),
        ("model.pth", ("split=9",), "no split 9 in the published splits of ade20k"),
        ("model.pth", ("classes=two.txt",), "two.txt has 2 names, but source has 150 classes"),
        ("model.pth", ("overrides=['model.dim=-1']",), "model.dim=-1 must be"),
        ("model.pth", ("overrides=['model.dimm=1']",), "Could not override 'model.dimm'"),
        ("reshaped.pth", (), "1 of another shape (listed above)"),
    ],
)
def test_refusals_are_one_line(
    source: str,
    settings: tuple[str, ...],
    message: str,
    authors: State,
    convert: Convert,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(authors, "model.pth")
    torch.save({**authors, "sem_seg_head.predictor.mask_embed.layers.1.bias": torch.zeros(5)}, "reshaped.pth")
    torch.save({"fc.weight": torch.zeros(2)}, "other.pth")
    Path("two.txt").write_text("a\nb\n")
    Path("empty").mkdir()
    with pytest.raises(SystemExit) as caught:
        convert(f"source={source}", *(settings if "out=" in str(settings) else ("out=out.ckpt", *settings)))
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert len(printed.err.splitlines()) == 1
    assert message in printed.err
    if "shape" in message:
        assert "1 of another shape\n        model.head.mask_embed.1.bias: [5] in the source, [32] here" in printed.out
