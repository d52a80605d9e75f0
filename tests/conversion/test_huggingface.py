"""Conversion from and to Hugging Face's MaskFormer, an implementation that is not ours."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import initialize_config_dir
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MaskFormerForInstanceSegmentation, MaskFormerImageProcessor

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli.convert import compose_recipe
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.conversion.huggingface import read_huggingface
from weakshot_seg.errors import ConfigError
from weakshot_seg.models.presence import PresenceHead

Foreign = tuple[MaskFormerForInstanceSegmentation, Path]
Convert = Callable[..., None]


@pytest.fixture(scope="module")
def ours(foreign: Foreign, convert: Convert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint it is converted to."""
    path = tmp_path_factory.mktemp("ours") / "ours.ckpt"
    convert(f"source={foreign[1]}", f"out={path}")
    return path


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def test_same_logits(foreign: Foreign, ours: Path) -> None:
    """At sizes that need padding within Swin's windows, with transformers' own normalisation of the same pixels."""
    theirs, folder = foreign
    module = load_module(ours)
    assert module.class_split.names == ("sky", "cat", "dog", "tree", "road")
    images = torch.randint(256, (2, 3, 96, 160), dtype=torch.uint8)
    processor = MaskFormerImageProcessor.from_pretrained(folder, do_resize=False)
    output = theirs(pixel_values=torch.stack(list(processor(list(images), return_tensors="pt")["pixel_values"])))
    converted = module.model(images)
    for expected, got in (
        (output.class_queries_logits, converted.class_logits[-1]),
        (output.masks_queries_logits, converted.mask_logits[-1]),
    ):
        assert expected.std() > 0.05  # the numbers say something
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_round_trip_gives_the_same_tensors(foreign: Foreign, ours: Path, convert: Convert, tmp_path: Path) -> None:
    _, folder = foreign
    convert(f"source={ours}", f"out={tmp_path}/back")
    back = tmp_path / "back"
    assert equal(*(load_file(place / "model.safetensors") for place in (folder, back)))
    assert equal(*(read_huggingface(place).tensors for place in (folder, back)))
    again, report = MaskFormerForInstanceSegmentation.from_pretrained(back, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert list(again.config.id2label.values()) == ["sky", "cat", "dog", "tree", "road"]
    assert list(MaskFormerImageProcessor.from_pretrained(back).image_mean) == [0.5, 0.25, 0.75]


def test_what_transformers_would_make_up_is_made(
    foreign: Foreign, ours: Path, convert: Convert, tmp_path: Path
) -> None:
    """A network of our own training carries nothing of transformers: the tensors we lack are as it makes them."""
    theirs, folder = foreign
    checkpoint = torch.load(ours, weights_only=True)
    del checkpoint["weakshot_seg"]["unused"]
    torch.save(checkpoint, tmp_path / "trained.ckpt")
    convert(f"source={tmp_path}/trained.ckpt", f"out={tmp_path}/back")
    before, after = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    other = [name for name in before if not torch.equal(before[name], after[name])]
    assert all(".encoder.model.layernorm." in name for name in other)
    fresh = MaskFormerForInstanceSegmentation(theirs.config).state_dict()
    assert all(torch.equal(fresh[name], after[name]) for name in other)


def test_weights_in_pieces(foreign: Foreign, tmp_path: Path) -> None:
    theirs, folder = foreign
    theirs.save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert equal(read_huggingface(folder).tensors, read_huggingface(tmp_path).tensors)


def test_partial_match_is_refused_unless_asked(
    foreign: Foreign, convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = Path(shutil.copytree(foreign[1], tmp_path / "copy")), tmp_path / "ours.ckpt"
    tensors = load_file(folder / "model.safetensors")
    tensors["model.bonus"] = tensors.pop("mask_embedder.1.0.bias")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SystemExit) as caught:
        convert(f"source={folder}", f"out={out}")
    printed = capsys.readouterr().out
    assert caught.value.code == 2
    assert "1 missing (ours, not in the source)\n        model.head.mask_embed.1.bias\n" in printed
    assert "1 unexpected (in the source, not ours)\n        model.bonus\n" in printed
    assert not out.exists()
    convert(f"source={folder}", f"out={out}", "partial=true")
    state = load_module(out).state_dict()
    assert torch.equal(state["model.head.mask_embed.2.bias"], tensors["mask_embedder.2.0.bias"])


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        (None, "model_type", "mask2former"),
        ("backbone_config", "model_type", "convnext"),
        ("backbone_config", "hidden_act", "silu"),
        ("decoder_config", "activation_function", "gelu"),
        ("decoder_config", "auxiliary_loss", True),
    ],
)
def test_networks_that_compute_something_else_are_refused(
    part: str | None, setting: str, value: object, foreign: Foreign, tmp_path: Path
) -> None:
    config = json.loads((foreign[1] / "config.json").read_text())
    (config if part is None else config[part])[setting] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/config\.json: .*{setting} is {value!r}; only "):
        read_huggingface(tmp_path)


def test_a_presence_head_has_no_place(
    ours: Path, convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, file = torch.load(ours, weights_only=True), tmp_path / "gated.ckpt"
    checkpoint["weakshot_seg"]["recipe"]["model"]["presence_gamma"] = 0.5
    head = PresenceHead(checkpoint["state_dict"]["model.query_decoder.project.weight"].shape[1], 5)
    checkpoint["state_dict"] |= {f"model.presence.{name}": tensor for name, tensor in head.state_dict().items()}
    torch.save(checkpoint, file)
    with pytest.raises(SystemExit):
        convert(f"source={file}", f"out={tmp_path}/folder")
    assert "cannot be made of a model with model.presence_gamma=0.5" in capsys.readouterr().err
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        assert compose_recipe(["experiment=folder"], 5).model["presence_gamma"] is None
