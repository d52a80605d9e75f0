"""Any wrong setting is refused in one line that names it, or it is one that can be built: never a traceback."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from composing import compose_own
from weakshot_seg.cli.entry_point import mendable
from weakshot_seg.config.commands import COMMANDS, GROUPS
from weakshot_seg.config.compose import conf_dir, leaves, plain, raw
from weakshot_seg.config.schema import check_settings, check_values
from weakshot_seg.errors import ConfigError
from weakshot_seg.training.trainer import make_trainer

Place = tuple[str | int, ...]

WRONG = ("banana", "", -7, 0.37, 0, 10**30, math.nan, None, True, [1, "x"], [], {"a": 1})
TINY = "model.backbone.name=test_resnet model.backbone.pretrained=false"
BASES = (
    f"train {TINY}",
    f"train experiment=coco data.root=DIR {TINY} inference=sliding loss/mask=points logger=wandb",
    f"train experiment=folder data.root=DIR {TINY} inference=tta trainer=ddp",
    "evaluate ckpt=CKPT",
    "predict ckpt=CKPT source=PHOTOS",
    "pseudo_label ckpt=CKPT out=OUT",
    "card ckpt=CKPT out=OUT",
    "app ckpt=CKPT",
    "check data=folder data.root=DIR",
    "export ckpt=CKPT out=OUT",
    "convert source=FILE out=OUT",
    "report runs=DIR",
)


def places(node: Any, path: Place = ()) -> Iterator[Place]:
    """Of all settings and groups."""
    for name, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(child, (*path, name))
    if path:
        yield path


def at(settings: Any, path: Place) -> Any:
    for name in path:
        settings = settings[name]
    return settings


@contextmanager
def changed(settings: dict[str, Any], path: Place, value: Any) -> Iterator[None]:
    node, missing = at(settings, path[:-1]), object()
    before = node.get(path[-1], missing) if isinstance(node, dict) else node[path[-1]]
    node[path[-1]] = value
    yield
    if before is missing:
        del node[path[-1]]
    else:
        node[path[-1]] = before


def build(settings: dict[str, Any], group: str, command: str) -> None:
    """Builds what a setting is part of, as the entry points do."""
    if command == "check" and group != "data":
        return
    if group == "trainer":
        make_trainer(OmegaConf.create(settings["trainer"]), logger=False)
    elif group in GROUPS and group != "logger":  # a logger starts a run
        node = OmegaConf.create({group: settings[group]})[group]
        if not (group == "model" and OmegaConf.select(node, "backbone.pretrained")):  # it would be downloaded
            instantiate(node, **({"num_classes": 16} if group == "model" else {}))


def outcome(settings: dict[str, Any], path: Place, command: str) -> str:
    """``accepted`` or the line that the user sees; raises what would be a traceback."""
    try:
        check_values(settings, command)
        build(settings, str(path[0]), command)
    except Exception as error:
        line = mendable(error)
        if line is None:
            raise AssertionError(f"a traceback: {type(error).__name__}: {error}") from error
        return line
    return "accepted"


def is_named(path: Place, value: Any, line: str) -> bool:
    """Whether a message names a setting, the node it belongs to, or its value."""
    names = [str(name) for name in path if isinstance(name, str)]
    parent = ".".join(names[:-1])
    return names[-1] in line or bool(parent and parent in line) or repr(value) in line


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str]]:
    """Settings of one argument of one target are alike: they are tried once."""
    return set()


@pytest.mark.parametrize("base", BASES)
def test_wrong_values(base: str, seen: set[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, settings = base.split()[0], plain(compose_own(*base.split()))
    check_values(settings, command)
    failures = []
    for path in list(places(settings)):
        parent = at(settings, path[:-1])
        alike = (str(parent.get("_target_", path[:-1]) if isinstance(parent, dict) else path[:-1]), str(path[-1]))
        for value in () if alike in seen else WRONG:
            try:
                with changed(settings, path, value):
                    line = outcome(settings, path, command)
            except AssertionError as error:
                failures.append(f"{path} {value!r}: {error}")
                continue
            if "\n" in line or not (line == "accepted" or is_named(path, value, line)):
                failures.append(f"{path} {value!r}: {line}")
        seen.add(alike)
    assert not failures, f"{len(failures)}:\n" + "\n".join(failures)


@pytest.mark.parametrize("base", BASES)
def test_unknown_keys(base: str) -> None:
    command, settings = base.split()[0], plain(compose_own(*base.split()))
    for path in {path[:-1] for path in places(settings) if isinstance(path[-1], str)}:
        with changed(settings, (*path, "bogus"), 1):
            line = outcome(settings, path or ("",), command)
        open_ended = path and path[-1] in ("backbone", "settings", "wandb")  # options of timm and W&B
        assert open_ended or ("bogus" in line and line != "accepted"), (path, line)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        ("train trainer.gradient_clip_val=-1", ["trainer.gradient_clip_val=-1", "at least 0"]),
        ("train +foo=1", ["foo=1", "no setting"]),
        ("train +sead=1", ["did you mean seed"]),
        ("train +data.bach_size=4", ["data.bach_size=4", "did you mean", "batch_size"]),
        ("train +callbacks.panels.number=4", ["callbacks.panels.number"]),
        ("train +callbacks.mine.a=1", ["callbacks.mine", "_target_"]),
        ("train optim._target_=optim.Lion", ["optim._target_='optim.Lion'"]),
        ("train name=7", ["name=7", "name='7'"]),
        ("train supervision=weak", ["'weak'", "weakshot, base_only, full"]),
        ("train logger=wandb logger.wandb.project=team/birds", ["project='team/birds'", "+logger.wandb.entity"]),
        ("train optim.lr=fast", ["optim.lr='fast'", "a number"]),
        ("train data.train.size=50", ["50", "multiple of 32"]),
        ("train data.novel_classes=disc", ["data.novel_classes='disc'", "a list"]),
        ("train data.novel_classes=[3]", ["data.novel_classes=[3]", "quote numbers: ['3']"]),
        ("train data.novel_ratio=1.5", ["novel_ratio=1.5"]),
        ("train data.root=nowhere data=folder data.train_transform.scale=[1]", ["scale=[1]", "a list of 2"]),
        ("train resume=maybe", ["resume='maybe'", "true or false"]),
        ("train ~optim", ["optim"]),
        ("train data=folder", ["data.root"]),
        ("train data.pairing=false", ["data.pairing=false", "~loss.terms.similarity"]),
        ("train data.batch_size=1", ["data.batch_size=1", "~loss.terms.similarity"]),
        ("train model.presence_gamma=0.5", ["model.presence_gamma=0.5", "loss/presence=head"]),
        ("train loss/presence=head ~loss.terms.presence", ["without loss.terms.presence", "loss/presence=none"]),
        ("train loss/presence=head loss.without=[presence]", ["without loss.terms.presence", "loss/presence=none"]),
        ("train loss/presence=head model.presence_gamma=null", ["with loss.terms.presence", "loss/presence=none"]),
        ("train loss/presence=head model.presence_gamma=-1", ["model.presence_gamma=-1", "at least 0"]),
        ("train model.dim=28 model.num_heads=8", ["model.dim=28", "model.num_heads=8"]),
        ("train model.dim=30", ["model.dim=30", "a multiple of 4"]),
        ("train model.pixel_dim=16", ["model.pixel_dim=16", "at least 32", "a multiple of 32"]),
        ("predict ckpt=x source=y out=2024", ["out=2024", "./2024"]),
        ("evaluate ckpt=7", ["ckpt=7", "./7"]),
        ("pseudo_label out=labels", ["ckpt"]),
        ("card ckpt=x out=3", ["out=3"]),
        ("check thumbnails=-1", ["thumbnails=-1"]),
    ],
)
def test_message(call: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(compose_own(*call.split()), call.split()[0])
    assert all(part in str(caught.value) for part in parts), caught.value


def test_settings_of_the_user_pass() -> None:
    """Code of one's own takes what it likes, and other settings may refer to what is added."""
    config = compose_own("train", "+side=64", "data.train.size=${side}")
    OmegaConf.set_struct(config, False)
    config.callbacks.mine = {"_target_": "collections.OrderedDict", "anything": ["goes"], "size": -1}
    check_settings(config, "train")


def test_in_a_shell(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "weakshot_seg", "train", "optim.lr=-1", "name=run"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: optim.lr=-1")
    assert not list(tmp_path.iterdir())


FILES = sorted(path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*/*.yaml"))
OPTIONS = ["=".join(file.rsplit("/", 1)) for file in FILES if not file.startswith("hydra/") and file != "loss/terms"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((command, None) for command in COMMANDS),
        *(("train", option) for option in OPTIONS),
        *(("evaluate", option) for option in OPTIONS if option.startswith(("data=", "trainer="))),
    ],
)
def test_shipped_files_pass(command: str, option: str | None) -> None:
    """Every file of ``conf`` composes, and what it names exists and takes the values it gives."""
    config = compose_own(command, *filter(None, [option]))
    for key, value in leaves(raw(config)):
        if value == "???":
            OmegaConf.update(config, key, "PLACE")
    check_settings(config, command)
