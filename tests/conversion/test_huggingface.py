"""Conversion from and to Hugging Face's MaskFormer, an implementation that is not ours."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import MaskFormerForInstanceSegmentation, MaskFormerImageProcessor

from weakshot_seg.checkpoints.loading import load_module
from weakshot_seg.cli.convert import main

Foreign = tuple[MaskFormerForInstanceSegmentation, Path]


@torch.no_grad()
def test_same_logits(foreign: Foreign, tmp_path: Path) -> None:
    """At sizes that need padding within Swin's windows, with transformers' own normalisation of the same pixels."""
    theirs, folder = foreign
    main([str(folder), str(tmp_path / "ours.ckpt")])
    ours = load_module(tmp_path / "ours.ckpt")
    assert ours.class_split.names == ("sky", "cat", "dog", "tree", "road")
    images = torch.randint(256, (2, 3, 96, 160), dtype=torch.uint8)
    inputs = MaskFormerImageProcessor(do_resize=False)(list(images), return_tensors="pt")
    pixels = torch.stack(list(inputs["pixel_values"]))
    output = theirs(pixel_values=pixels)
    converted = ours.model(images)
    for name, expected, got in (
        ("class", output.class_queries_logits, converted.class_logits[-1]),
        ("mask", output.masks_queries_logits, converted.mask_logits[-1]),
    ):
        difference = (expected - got).abs().max().item()
        print(f"{name} logits: largest difference {difference:.1e}, standard deviation {expected.std().item():.2f}")
        assert expected.std() > 0.05  # the numbers say something
        assert difference < 1e-4


def test_round_trip_gives_the_same_tensors(foreign: Foreign, tmp_path: Path) -> None:
    _, folder = foreign
    main([str(folder), str(tmp_path / "ours.ckpt")])
    main([str(tmp_path / "ours.ckpt"), str(tmp_path / "back")])
    before, after = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []

    again, report = MaskFormerForInstanceSegmentation.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert list(again.config.id2label.values()) == ["sky", "cat", "dog", "tree", "road"]
    main([str(tmp_path / "back"), str(tmp_path / "again.ckpt")])
    first, second = (load_module(tmp_path / name).state_dict() for name in ("ours.ckpt", "again.ckpt"))
    assert all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def test_what_transformers_would_make_up_is_made(foreign: Foreign, tmp_path: Path) -> None:
    """A network of our own training carries nothing of transformers: the tensors we lack are as it makes them."""
    theirs, folder = foreign
    main([str(folder), str(tmp_path / "ours.ckpt")])
    checkpoint = torch.load(tmp_path / "ours.ckpt", weights_only=True)
    del checkpoint["weakshot_seg"]["unused"]
    torch.save(checkpoint, tmp_path / "trained.ckpt")
    main([str(tmp_path / "trained.ckpt"), str(tmp_path / "back")])
    before, after = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "back"))
    assert before.keys() == after.keys()
    other = [name for name in before if not torch.equal(before[name], after[name])]
    assert all(".encoder.model.layernorm." in name for name in other)
    fresh = MaskFormerForInstanceSegmentation(theirs.config).state_dict()
    assert all(torch.equal(fresh[name], after[name]) for name in other)


def test_normalisation_of_the_folder(foreign: Foreign, tmp_path: Path) -> None:
    _, folder = foreign
    mean, std = [0.5, 0.25, 0.75], [0.125, 0.5, 0.25]
    MaskFormerImageProcessor(image_mean=mean, image_std=std).save_pretrained(folder)
    main([str(folder), str(tmp_path / "ours.ckpt")])
    model = load_module(tmp_path / "ours.ckpt").model
    assert model.mean.flatten().tolist() == mean
    assert model.std.flatten().tolist() == std
    main([str(tmp_path / "ours.ckpt"), str(tmp_path / "back")])
    assert list(MaskFormerImageProcessor.from_pretrained(tmp_path / "back").image_mean) == mean


def test_weights_in_pieces(foreign: Foreign, tmp_path: Path) -> None:
    theirs, folder = foreign
    theirs.save_pretrained(tmp_path / "pieces", max_shard_size="300KB")
    assert len(list((tmp_path / "pieces").glob("*.safetensors"))) > 1
    for place in (folder, tmp_path / "pieces"):
        main([str(place), str(tmp_path / f"{place.name}.ckpt")])
    one, many = (load_module(tmp_path / f"{name}.ckpt").state_dict() for name in ("foreign", "pieces"))
    assert all(torch.equal(one[name], many[name]) for name in one.keys() | many.keys())


def test_partial_match_is_refused_unless_asked(
    foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder = foreign
    tensors = load_file(folder / "model.safetensors")
    tensors["model.bonus"] = tensors.pop("mask_embedder.1.0.bias")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    arguments = [str(folder), str(tmp_path / "ours.ckpt")]
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert "1 missing (ours, not in the source)\n        model.head.mask_embed.1.bias\n" in printed.out
    assert "1 unexpected (in the source, not ours)\n        model.bonus\n" in printed.out
    assert str(folder) in printed.err
    assert "--partial" in printed.err
    assert not (tmp_path / "ours.ckpt").exists()
    main([*arguments, "--partial"])
    state = load_module(tmp_path / "ours.ckpt").state_dict()
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
    part: str | None, setting: str, value: object, foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = foreign[1] / "config.json"
    config = json.loads(path.read_text())
    (config if part is None else config[part])[setting] = value
    path.write_text(json.dumps(config))
    with pytest.raises(SystemExit):
        main([str(path.parent), str(tmp_path / "ours.ckpt")])
    line = capsys.readouterr().err
    assert line.startswith(f"error: {path}: ")
    assert f"{setting} is {value!r}; only " in line
