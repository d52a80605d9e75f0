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

from weakshot_seg.checkpoints.building import build_module, load_module
from weakshot_seg.checkpoints.trusted_targets import PARTS, shipped_targets
from weakshot_seg.cli import convert, evaluate, export, predict, pseudo_label, train
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.recipe import Recipe

Train = Callable[..., Path]
Refusal = Callable[..., str]
Settings = tuple[str, ...]
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


@pytest.mark.parametrize(
    ("reader", "form"),
    [*((reader, "zip") for reader in [*READERS, "resume", "weights", "backbone"])]
    + [(reader, form) for reader in ("evaluate", "convert", "backbone") for form in ("legacy", "pickle")],
)
def test_nothing_is_unpickled(
    reader: str,
    form: str,
    victim: Path,
    trained: Path,
    small: Settings,
    few_scenes: Settings,
    refusal: Refusal,
    tmp_path: Path,
) -> None:
    content = {"weakshot_seg": {}, "state_dict": {"weight": Payload(victim)}}
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    settings = {
        "resume": ["resume=true", f"hydra.run.dir={tmp_path}"],
        "weights": [f"weights={path}"],
        "backbone": [f"model.backbone.checkpoint={path}"],
    }
    main, arguments = READERS[reader](path, trained) if reader in READERS else (train.main, settings[reader])
    line = refusal(main, *(() if reader in READERS else small + few_scenes), *arguments)
    assert str(path) in line
    assert not victim.exists()
    pickle.loads(pickle.dumps(content))
    assert victim.exists()  # the payload is real


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
            val_transform={"_target_": "weakshot_seg.data.images.read_image", "path": "/etc/passwd"}
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
def test_no_command_builds_what_a_recipe_asks_for(
    reader: str, spoilt: Callable[[str], Path], trained: Path, victim: Path, refusal: Refusal
) -> None:
    path = spoilt("loss term")
    main, arguments = READERS[reader](path, trained)
    line = refusal(main, *arguments, "allow_targets=[own_losses,torch.nn]")  # which lets nothing else in
    assert f"ckpt={path} is refused: loss.terms.new of its recipe" in line
    assert not victim.exists()


@pytest.mark.parametrize("kind", recipes(Path()))
def test_what_a_recipe_may_not_ask_for(kind: str, spoilt: Callable[[str], Path], victim: Path) -> None:
    for allowed in ((), ("own_losses", "torch.nn")):
        with pytest.raises(ConfigError, match="is refused: "):
            load_module(spoilt(kind), allowed)
        assert not victim.exists()


def test_such_a_recipe_is_dangerous(trained: Path, victim: Path) -> None:
    ours = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["weakshot_seg"]
    recipe = deepcopy(ours["recipe"])
    recipes(victim)["in a list"](recipe)
    build_module(Recipe.from_dict(recipe), ClassSplit(tuple(ours["class_names"]), tuple(ours["novel"])))
    assert victim.exists()


@pytest.mark.parametrize("change", [{"recipe": None}, {"recipe": {}}, {"recipe": {"model": {"backbone": 3}}}])
def test_recipes_that_are_none(change: dict[str, Any], trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["weakshot_seg"].update(change)
    torch.save(checkpoint, tmp_path / "spoilt.ckpt")
    with pytest.raises(ConfigError, match=r"ckpt=.*spoilt\.ckpt has a recipe that cannot be used"):
        load_module(tmp_path / "spoilt.ckpt")


def test_only_our_own_code_is_shipped() -> None:
    assert "weakshot_seg.data.readers.voc.VOC2012" in shipped_targets("data")
    assert all(target.startswith("weakshot_seg.") for part in PARTS for target in shipped_targets(part))


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
