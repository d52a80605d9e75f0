"""Files of strangers are data: whatever they ask for, no entry point calls it."""

import os
import pickle
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from weakshot_seg import train
from weakshot_seg.checkpoints.building import build_module, load_module
from weakshot_seg.checkpoints.trusted_targets import PARTS, shipped_targets
from weakshot_seg.cli import convert, evaluate, export, predict, pseudo_label
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import Recipe

Train = Callable[..., Path]
Refusal = Callable[..., str]
CPU = "trainer.accelerator=cpu"
READERS: dict[str, Callable[[Path, Path], tuple[Callable[[], object], list[str]]]] = {
    "evaluate": lambda ckpt, folder: (evaluate.main, [f"ckpt={ckpt}", CPU]),
    "predict": lambda ckpt, folder: (predict.main, [f"ckpt={ckpt}", f"source={folder}/pictures", "device=cpu"]),
    "pseudo_label": lambda ckpt, folder: (pseudo_label.main, [f"ckpt={ckpt}", "out=labels", CPU]),
    "export": lambda ckpt, folder: (export.main, [f"ckpt={ckpt}", "format=torch_export"]),
    "convert": lambda ckpt, folder: (convert.main, [f"source={ckpt}", "out=converted"]),
}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch '{self.victim}'",)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    return tmp_path / "victim"


def pickled(content: object, path: Path, form: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    return path


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("reader", [*READERS, "resume", "weights", "backbone"])
def test_nothing_is_unpickled(
    reader: str,
    form: str,
    victim: Path,
    trained: Path,
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    refusal: Refusal,
    tmp_path: Path,
) -> None:
    content = {"weakshot_seg": {}, "state_dict": {"weight": Payload(victim)}}
    path = pickled(content, tmp_path / "checkpoints" / "last.ckpt", form)
    settings = {
        "resume": ["resume=true", f"hydra.run.dir={tmp_path}"],
        "weights": [f"weights={path}"],
        "backbone": [f"model.backbone.checkpoint={path}"],
    }
    main, arguments = READERS[reader](path, trained) if reader in READERS else (train.main, settings[reader])
    line = refusal(main, *(() if reader in READERS else small + few_scenes), *arguments)
    assert str(path) in line
    assert not victim.exists()


def test_the_payload_is_real(victim: Path, tmp_path: Path) -> None:
    torch.load(pickled(Payload(victim), tmp_path / "file", "zip"), weights_only=False)
    assert victim.exists()


def touching(victim: Path) -> dict[str, Any]:
    return {"_target_": "pathlib.Path.touch", "self": {"_target_": "pathlib.Path", "_args_": [str(victim)]}}


def recipes(victim: Path) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Changes to a recipe that would make a file when it is built, or give what could be called later."""
    command = {"command": f"touch '{victim}'"}
    through = "weakshot_seg.utils.files.os.system"  # an attribute of an attribute of a module of ours
    look_up = {"_target_": "hydra.utils.get_object", "path": "os.system"}
    return {
        "model": lambda r: r.update(model={"backbone": {}, "_target_": "os.system", **command}),
        "backbone": lambda r: r["model"]["backbone"].update(_target_="subprocess.getoutput", cmd=f"touch {victim}"),
        "loss term": lambda r: r["loss"]["terms"].update(new=touching(victim)),
        "in a list": lambda r: r["loss"].update(without=[touching(victim)]),
        "optimiser": lambda r: r.update(optim={"_target_": "builtins.exec", "_args_": [f"open({str(victim)!r}, 'w')"]}),
        "data": lambda r: r.update(data=touching(victim) | {"val_transform": {}, "supervision": "weakshot"}),
        "data set": lambda r: r["data"].update(dataset=look_up),
        "positional": lambda r: r["data"].update(
            dataset={"_target_": "hydra.utils.get_object", "_args_": ["os.system"]}
        ),
        "transform": lambda r: r["data"].update(val_transform=touching(victim)),
        "later": lambda r: r["data"]["train"].update(touching(victim)),  # called in setup()
        "through ours": lambda r: r["data"].update(val_transform={"_target_": through, **command}),
        "ours, but no part": lambda r: r["data"].update(
            val_transform={"_target_": "weakshot_seg.data.download.download", "url": "file:///etc/passwd"}
        ),
        "other group": lambda r: r["data"].update(val_transform={"_target_": r["optim"]["_target_"]}),
        "interpolation": lambda r: r["data"].update(split_file="${oc.env:HOME}"),
        "no name": lambda r: r["data"].update(val_transform={"_target_": {"a": 1}}),
    }


@pytest.fixture
def spoilt(trained: Path, victim: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The checkpoint of a run with one thing changed in its recipe."""

    def spoil(kind: str) -> Path:
        checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
        recipes(victim)[kind](checkpoint["weakshot_seg"]["recipe"])
        torch.save(checkpoint, tmp_path / "spoilt.ckpt")
        return tmp_path / "spoilt.ckpt"

    return spoil


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["model", "loss term", "transform"])
def test_no_command_builds_what_a_recipe_asks_for(
    reader: str, kind: str, spoilt: Callable[[str], Path], trained: Path, victim: Path, refusal: Refusal
) -> None:
    path = spoilt(kind)
    main, arguments = READERS[reader](path, trained)
    line = refusal(main, *arguments)
    assert f"ckpt={path} is refused" in line
    assert {"model": "model of", "loss term": "loss.terms.new", "transform": "data.val_transform"}[kind] in line
    assert not victim.exists()


@pytest.mark.parametrize("kind", recipes(Path()))
def test_what_a_recipe_may_not_ask_for(kind: str, spoilt: Callable[[str], Path], victim: Path) -> None:
    with pytest.raises(ConfigError, match="is refused: "):
        load_module(spoilt(kind))
    assert not victim.exists()


def test_such_a_recipe_is_dangerous(trained: Path, victim: Path) -> None:
    ours = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["weakshot_seg"]
    recipe = deepcopy(ours["recipe"])
    recipes(victim)["in a list"](recipe)
    build_module(Recipe.from_dict(recipe), ClassSplit(tuple(ours["class_names"]), tuple(ours["novel"])))
    assert victim.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda ours: ours.pop("recipe"),
        lambda ours: ours.update(recipe=7),
        lambda ours: ours["recipe"].pop("model"),
        lambda ours: ours["recipe"].update(model={"backbone": 3}),
        lambda ours: ours.update(class_names=[]),
        lambda ours: ours.update(novel=[200]),
        lambda ours: ours.update(novel=["a"]),
    ],
)
def test_recipes_that_are_none(
    change: Callable[[dict[str, Any]], Any], trained: Path, refusal: Refusal, tmp_path: Path
) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    change(checkpoint["weakshot_seg"])
    torch.save(checkpoint, tmp_path / "spoilt.ckpt")
    line = refusal(evaluate.main, f"ckpt={tmp_path}/spoilt.ckpt", CPU)
    assert f"ckpt={tmp_path}/spoilt.ckpt has a recipe that cannot be used" in line


def test_shipped_targets_are_read_from_the_configuration() -> None:
    assert "weakshot_seg.losses.assignments.GpuHungarianMatcher" in shipped_targets("loss")
    assert "weakshot_seg.data.readers.voc.VOC2012" in shipped_targets("data")
    every = {target for part in PARTS for target in shipped_targets(part)}
    assert all(target.startswith("weakshot_seg.") for target in every)


def test_own_code_is_allowed_by_name(
    train: Train, refusal: Refusal, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_losses.py").write_text(
        "from weakshot_seg.losses.terms import MaskLoss\n\nclass OwnLoss(MaskLoss):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ("loss.terms.mask._target_=own_losses.OwnLoss", "trainer.max_steps=2")
    folder = train(tmp_path / "run", *own, "retrain=true")  # trusts its own first stage
    assert (folder / "retrain" / "metrics.json").is_file()
    main, arguments = READERS["evaluate"](folder / "checkpoints" / "last.ckpt", folder)
    line = refusal(main, *arguments)
    assert "loss.terms.mask of its recipe would call 'own_losses.OwnLoss'" in line
    assert "allow_targets=[own_losses.OwnLoss]" in line
    for allowed in ("own_losses", "own_losses.OwnLoss"):
        command(main, *arguments, f"allow_targets=[{allowed}]", f"hydra.run.dir={tmp_path / allowed}", folder=tmp_path)
        assert (tmp_path / allowed / "metrics.json").is_file()
    assert "is refused" in refusal(main, *arguments, "allow_targets=[own]")
    places = (f"source={folder}/checkpoints/last.ckpt", f"out={tmp_path}/converted")
    assert "allow_targets=[own_losses.OwnLoss]" in refusal(convert.main, *places)
    # let in and built: the next question is whether its backbone has a counterpart
    line = refusal(convert.main, *places, "allow_targets=[own_losses]")
    assert "neither a ResNet with bottlenecks nor a Swin" in line
    sys.modules.pop("own_losses")


@pytest.mark.parametrize("kind", ["model", "backbone", "loss term", "in a list", "data set", "transform"])
def test_what_is_allowed_lets_nothing_else_in(
    kind: str, spoilt: Callable[[str], Path], victim: Path, refusal: Refusal, tmp_path: Path
) -> None:
    allowed = "allow_targets=[own_losses,torch.nn]"
    line = refusal(convert.main, f"source={spoilt(kind)}", f"out={tmp_path}/out", allowed)
    assert "is refused: " in line
    assert not victim.exists()
