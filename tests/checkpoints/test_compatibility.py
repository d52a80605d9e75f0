"""Checkpoints and model folders of earlier versions are read; those of later ones are refused."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from weakshot_seg.checkpoints.building import build_module, load_last, load_module, start_from
from weakshot_seg.checkpoints.compatibility import upgrade
from weakshot_seg.checkpoints.reading import read_model
from weakshot_seg.checkpoints.trusted_targets import PARTS, check_recipe
from weakshot_seg.config.schema import check_node
from weakshot_seg.data.splits import make_split
from weakshot_seg.data.synthetic.scenes import SyntheticScenes
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.module import WeakShotModule
from weakshot_seg.utils.recipe import VERSION, Recipe

OLD: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("recipes_of_version_1.json").read_text())
"""Recipes as the last version without a number stored them, by experiment; the first is of a small model."""


@pytest.fixture
def module() -> WeakShotModule:
    """Random weights, in a module of now."""
    recipe = Recipe.from_dict(upgrade(OLD["synthetic"], 1))
    return build_module(recipe, make_split(SyntheticScenes.class_names, 1)).eval()


@pytest.fixture
def old_files(module: WeakShotModule, tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint and a model folder with those weights, as version 1 wrote them."""
    content: dict[str, Any] = {
        "recipe": OLD["synthetic"],
        "class_names": list(module.class_split.names),
        "novel": list(module.class_split.novel),
    }
    checkpoint, folder = tmp_path / "last.ckpt", tmp_path / "folder"
    torch.save({"weakshot_seg": content, "state_dict": module.state_dict(), "global_step": 7}, checkpoint)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content | {"format": 1, "step": 7, "weakshot_seg": "0.1.0"}))
    network = {name: tensor.contiguous() for name, tensor in module.state_dict().items() if name.startswith("model.")}
    save_file(network, folder / "model.safetensors")
    return checkpoint, folder


@pytest.mark.parametrize("experiment", OLD)
def test_everything_in_old_recipes_still_exists(experiment: str) -> None:
    recipe = Recipe.from_dict(upgrade(OLD[experiment], 1))
    check_recipe(recipe, "old.ckpt")
    for part in PARTS:
        check_node(part, getattr(recipe, part))


def test_old_files_are_the_same_model_and_run(
    module: WeakShotModule, old_files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = module.model(images)
        for path in old_files:
            loaded = load_module(path)
            assert loaded.trained_steps == 7
            assert torch.equal(loaded.model(images).mask_logits, expected.mask_logits)
    with caplog.at_level(logging.WARNING):
        assert load_last(module, old_files[0].parent) == old_files[0]
    assert not caplog.records  # of other settings


@pytest.mark.parametrize(
    ("version", "message"), [(99, r"newer weakshot_seg \(format 99\): install a newer"), ("2", "its version is '2'")]
)
def test_other_versions_are_refused(version: object, message: str, old_files: tuple[Path, Path]) -> None:
    checkpoint, folder = old_files
    content = torch.load(checkpoint, weights_only=True)
    content["weakshot_seg"]["version"] = version
    torch.save(content, checkpoint)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": version}))
    for path in (checkpoint, folder):
        with pytest.raises(ConfigError, match=message) as caught:
            read_model(path)
        assert str(caught.value).startswith(f"ckpt={path}")


def test_new_files_have_the_version(module: WeakShotModule) -> None:
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["weakshot_seg"]["version"] == VERSION
    assert upgrade(checkpoint["weakshot_seg"]["recipe"], VERSION) == module.recipe.to_dict()


def with_head(recipe: Recipe) -> WeakShotModule:
    gated = Recipe.from_dict(recipe.to_dict() | {"model": recipe.model | {"presence_gamma": 0.5}})
    return build_module(gated, make_split(SyntheticScenes.class_names, 1)).eval()


def test_a_training_starts_from_weights_with_or_without_a_presence_head(
    module: WeakShotModule, old_files: tuple[Path, Path], tmp_path: Path
) -> None:
    gated = with_head(module.recipe)
    head = {name: t.clone() for name, t in gated.model.state_dict().items() if name.startswith("presence.")}
    start_from(gated, old_files[0])
    expected = {**module.model.state_dict(), **head}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in gated.model.state_dict().items())
    content: dict[str, Any] = {"state_dict": gated.state_dict(), "global_step": 9}
    gated.on_save_checkpoint(content)
    torch.save(content, tmp_path / "gated.ckpt")
    other, plain = with_head(module.recipe), build_module(module.recipe, module.class_split)
    for fresh in (other, plain):
        start_from(fresh, tmp_path / "gated.ckpt")
        assert all(torch.equal(t, gated.model.state_dict()[name]) for name, t in fresh.model.state_dict().items())
    assert load_module(tmp_path / "gated.ckpt").model.presence_gamma == 0.5


def with_classes(recipe: Recipe, *names: str, seed: int = 0) -> WeakShotModule:
    torch.manual_seed(seed)
    gated = Recipe.from_dict(recipe.to_dict() | {"model": recipe.model | {"presence_gamma": 0.5}})
    return build_module(gated, ClassSplit(names, (1,))).eval()


def stored(module: WeakShotModule, path: Path) -> Path:
    content: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 9}
    module.on_save_checkpoint(content)
    torch.save(content, path)
    return path


@torch.no_grad()
def test_a_model_is_extended_by_classes_and_keeps_what_it_knows_by_name(module: WeakShotModule, tmp_path: Path) -> None:
    """All that is computed of a class is what it was, at another place; nothing is of the class that was removed."""
    old = with_classes(module.recipe, "sky", "cat", "grass", "dog")
    path, names = stored(old, tmp_path / "old.ckpt"), ("dog", "crow", "sky", "cat", "heron")
    new, before = (with_classes(module.recipe, *names, seed=1) for _ in range(2))
    with pytest.raises(ConfigError, match=r"other classes \(crow, heron\); .* or partial=true"):
        start_from(new, path)
    start_from(new, path, partial=True)
    given, ours, fresh = (m.model.state_dict() for m in (old, new, before))
    places = {"sky": (0, 2), "cat": (1, 3), "dog": (3, 0)}
    by_class = [n for n, t in given.items() if n.split(".")[0] != "backbone" and t.shape != ours[n].shape]
    assert len(by_class) == 6  # weights and biases of two classifiers, two embeddings of queries
    for name, tensor in ours.items():
        if name not in by_class:
            assert torch.equal(tensor, given[name])
            continue
        assert all(torch.equal(tensor[there], given[name][here]) for here, there in places.values())
        assert all(torch.equal(tensor[i], fresh[name][i]) for i in (1, 4))
    assert torch.equal(ours["head.classify.weight"][-1], given["head.classify.weight"][-1])  # no object


@torch.no_grad()
def test_classes_in_another_order_are_the_same_model(module: WeakShotModule, tmp_path: Path) -> None:
    old = with_classes(module.recipe, "sky", "cat", "grass")
    new = with_classes(module.recipe, "grass", "sky", "cat", seed=1)
    start_from(new, stored(old, tmp_path / "old.ckpt"))
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    ours, expected = new.model(images), old.model(images)
    torch.testing.assert_close(ours.mask_logits, expected.mask_logits[:, :, [2, 0, 1]])
    torch.testing.assert_close(ours.class_scores(), expected.class_scores()[:, [2, 0, 1]][:, :, [2, 0, 1]])


def test_weights_with_nan_and_weights_that_do_not_fit_at_all(module: WeakShotModule, tmp_path: Path) -> None:
    old = with_classes(module.recipe, "sky", "cat")
    old.model.head.classify.weight.data[0, 0] = torch.nan
    with pytest.raises(ConfigError, match=r"NaN or infinite values \(model\.head\.classify\.weight\)"):
        start_from(with_classes(module.recipe, "sky", "cat"), stored(old, tmp_path / "old.ckpt"))
    content = torch.load(tmp_path / "old.ckpt", weights_only=True)
    torch.save(content | {"state_dict": {"model.other": torch.zeros(1)}}, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match="nothing in it fits"):
        start_from(with_classes(module.recipe, "sky", "cat"), tmp_path / "other.ckpt", partial=True)


def test_a_flipped_bit_in_the_weights_is_found(module: WeakShotModule, tmp_path: Path) -> None:
    """PyTorch reads other weights without a word."""
    path = stored(module, tmp_path / "last.ckpt")
    content, weight = bytearray(path.read_bytes()), module.model.query_decoder.queries.weight
    content[content.index(weight.detach().numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path)["state_dict"]["model.query_decoder.queries.weight"], weight)
    with pytest.raises(ConfigError, match=r"last\.ckpt cannot be read, it may be truncated, damaged .*checksum of"):
        load_module(path)
