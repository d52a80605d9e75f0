"""Any wrong setting is refused in one line that names it, or it is one that can be built: never a traceback."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from weakshot_seg import train
from weakshot_seg.cli import card, check, evaluate, predict, pseudo_label
from weakshot_seg.cli.entry_point import mendable
from weakshot_seg.config.compose import conf_dir
from weakshot_seg.config.preflight import check_written
from weakshot_seg.config.schema import BUILT, check_settings
from weakshot_seg.training.trainer import make_trainer

Refusal = Callable[..., str]
Place = tuple[str | int, ...]

WRONG: dict[str, Any] = {
    "text": "banana",
    "empty text": "",
    "negative": -7,
    "fraction": 0.37,
    "zero": 0,
    "huge": 10**30,
    "infinite": math.inf,
    "not a number": math.nan,
    "null": None,
    "true": True,
    "list": [1, "x"],
    "empty list": [],
    "group": {"a": 1},
    "reference": "${no.such}",
    "variable": "${oc.env:NOT_SET}",
}
TINY = ("model.backbone.name=test_resnet", "model.backbone.pretrained=false")
BASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "default": ("train", TINY),
    "coco": (
        "train",
        ("experiment=coco", "data.root=DIR", *TINY, "inference=sliding", "loss/mask=points", "logger=wandb"),
    ),
    "folder": ("train", ("experiment=folder", "data.root=DIR", *TINY, "inference=tta", "trainer=ddp")),
    "evaluate": ("evaluate", ("ckpt=CKPT",)),
    "predict": ("predict", ("ckpt=CKPT", "source=PHOTOS")),
    "pseudo_label": ("pseudo_label", ("ckpt=CKPT", "out=OUT")),
    "card": ("card", ("ckpt=CKPT", "out=OUT")),
    "app": ("app", ("ckpt=CKPT",)),
    "check": ("check", ("data=folder", "data.root=DIR")),
    "export": ("export", ("ckpt=CKPT", "out=OUT")),
    "convert": ("convert", ("source=FILE", "out=OUT")),
    "report": ("report", ("runs=DIR",)),
}


def composed(base: str, folder: Path) -> DictConfig:
    entry, overrides = BASES[base]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(entry, [*overrides, f"hydra.runtime.output_dir={folder}"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def leaves(node: Any, path: Place = ()) -> Iterator[Place]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from leaves(child, (*path, name))
    if path:
        yield path


@contextmanager
def changed(config: DictConfig, path: Place, value: Any) -> Iterator[DictConfig]:
    """The same configuration with one thing changed; copies of it would take most of the time."""
    node, before = config, OmegaConf.to_container(config, resolve=False)
    for name in path[:-1]:
        node, before = node[name], before[name]
    OmegaConf.set_struct(config, False)
    node[path[-1]] = value
    yield config
    if isinstance(before, list) or path[-1] in before:
        node[path[-1]] = before[path[-1]]
    else:
        del node[path[-1]]


def build(config: DictConfig, group: str, entry: str) -> None:
    """Builds what a setting is part of, as the entry points do."""
    if (entry == "check" and group != "data") or (group == "model" and config.model.backbone.get("pretrained")):
        return  # not built, or only after a download
    if group == "trainer":
        make_trainer(config.trainer, logger=False)
    elif group in BUILT and group != "logger":  # a logger starts a run
        instantiate(config[group], **({"num_classes": 16} if group == "model" else {}))


def told(path: Place, value: Any, message: str) -> bool:
    """Whether a message names a setting, the node it belongs to, its value, or another setting that refers to it."""
    names = [str(name) for name in path if isinstance(name, str)]
    parent = ".".join(names[:-1])
    return names[-1] in message or (parent and parent in message) or repr(value) in message or "interpol" in message


def outcome(config: DictConfig, path: Place, entry: str, value: Any = None) -> str:
    """``accepted`` or the line that the user sees; raises what would be a traceback."""
    try:
        if "${" in str(value):
            check_written(config)
        check_settings(config, entry)
        build(config, str(path[0]), entry)
    except Exception as error:
        line = mendable(error)
        if line is None:
            raise AssertionError(f"a traceback: {type(error).__name__}: {error}") from error
        return line
    return "accepted"


def sites(config: DictConfig, seen: set[tuple[str, str]]) -> Iterator[Place]:
    """Every setting once: those of one argument of one target are alike."""
    plain = OmegaConf.to_container(config, resolve=False)
    for path in leaves(plain):
        node: Any = plain
        for name in path[:-1]:
            node = node[name]
        place = (str(node.get("_target_", path[:-1])) if isinstance(node, dict) else str(path[:-1]), str(path[-1]))
        if place not in seen:
            seen.add(place)
            yield path


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, str]]:
    return set()


@pytest.mark.parametrize("base", BASES)
def test_wrong_values(base: str, seen: set[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config, entry = composed(base, tmp_path), BASES[base][0]
    check_settings(config, entry)
    failures, refused, accepted = [], 0, 0
    for path in sites(config, seen):
        for kind, value in WRONG.items():
            try:
                with changed(config, path, value):
                    line = outcome(config, path, entry, value)
            except AssertionError as error:
                failures.append(f"{path} {kind}: {error}")
                continue
            refused, accepted = refused + (line != "accepted"), accepted + (line == "accepted")
            if line != "accepted" and not told(path, value, line):
                failures.append(f"{path} {kind}: not named in: {line}")
            if "\n" in line:
                failures.append(f"{path} {kind}: {line}")
    print(f"{base}: {refused} refused, {accepted} accepted")
    assert not failures, f"{len(failures)}:\n" + "\n".join(failures)


@pytest.mark.parametrize("base", BASES)
def test_unknown_keys(base: str, tmp_path: Path) -> None:
    config, entry = composed(base, tmp_path), BASES[base][0]
    plain = OmegaConf.to_container(config, resolve=False)
    groups = {path[:-1] for path in leaves(plain) if isinstance(path[-1], str)}
    for path in groups:
        with changed(config, (*path, "bogus"), 1):
            line = outcome(config, path or ("",), entry)
        open_ended = path and path[-1] in ("backbone", "settings", "wandb")  # options of timm and W&B
        assert open_ended or ("bogus" in line and line != "accepted"), (path, line)


HOLES: dict[str, tuple[Callable[[], object], tuple[str, ...], tuple[str, ...]]] = {
    "negative clipping": (
        train.main,
        ("trainer.gradient_clip_val=-1",),
        ("trainer.gradient_clip_val=-1", "at least 0"),
    ),
    "unknown at top level": (train.main, ("+foo=1",), ("foo=1", "no setting")),
    "almost known": (train.main, ("+sead=1",), ("did you mean seed",)),
    "unknown in a group": (train.main, ("+data.bach_size=4",), ("data.bach_size=4", "did you mean", "batch_size")),
    "unknown in a callback": (train.main, ("+callbacks.panels.number=4",), ("callbacks.panels.number",)),
    "a callback without a target": (train.main, ("+callbacks.mine.a=1",), ("callbacks.mine", "_target_")),
    "a target that does not exist": (train.main, ("optim._target_=optim.Lion",), ("optim._target_='optim.Lion'",)),
    "99 processes": (train.main, ("trainer.accelerator=cpu", "trainer.devices=99"), ("trainer.devices=99", "CPU")),
    "a number as folder": (predict.main, ("ckpt=x", "source=y", "out=2024"), ("out=2024", "./2024")),
    "a number as checkpoint": (evaluate.main, ("ckpt=7",), ("ckpt=7", "./7")),
    "a number as name": (train.main, ("name=7",), ("name=7", "name='7'")),
    "a split file": (train.main, ("data.split_file=nowhere.json",), ("nowhere.json", "data.split_file")),
    "text for a number": (train.main, ("optim.lr=fast",), ("optim.lr='fast'", "a number")),
    "one class as text": (train.main, ("data.novel_classes=disc",), ("data.novel_classes='disc'", "a list")),
    "numbers for names": (train.main, ("data.novel_classes=[3]",), ("data.novel_classes=[3]", "quote numbers: ['3']")),
    "yes for true": (train.main, ("resume=maybe",), ("resume='maybe'", "true or false")),
    "double precision": (train.main, ("trainer.precision=64",), ("trainer.precision=64", "bf16-mixed")),
    "no accelerator": (train.main, ("trainer.accelerator=abacus",), ("trainer", "abacus")),
    "no group at all": (train.main, ("~optim",), ("optim",)),
    "missing checkpoint": (pseudo_label.main, ("out=labels",), ("ckpt",)),
    "card": (card.main, ("ckpt=x", "out=3"), ("out=3",)),
    "check": (check.main, ("thumbnails=-1",), ("thumbnails=-1",)),
}
CONTRADICTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "similarity without pairs": (("data.pairing=false",), ("data.pairing=false", "~loss.terms.similarity")),
    "similarity of one image": (("data.batch_size=1",), ("data.batch_size=1", "~loss.terms.similarity")),
    "heads that do not divide": (("model.dim=30", "model.num_heads=4"), ("model.dim=30", "model.num_heads=4")),
    "retraining without labels": (("stage=retrain",), ("stage=retrain", "pseudo_labels")),
    "labels without retraining": (("pseudo_labels=DIR",), ("stage=retrain", "pseudo_labels")),
    "retraining twice": (("retrain=true", "stage=retrain", "pseudo_labels=DIR"), ("retrain=true", "stage=retrain")),
    "retraining of the bound": (("retrain=true", "supervision=full"), ("supervision=weakshot", "full")),
    "absence with matching": (
        ("loss/assignment=hungarian", "model.num_queries=16"),
        ("loss.terms.absence", "class queries"),
    ),
    "queries beside class queries": (("model.num_queries=20",), ("model.num_queries", "20")),
    "too few queries": (
        ("loss/assignment=hungarian", "model.num_queries=1", "~loss.terms.absence"),
        ("model.num_queries",),
    ),
    "scale upside down": (("data.train_transform.scale=[2.0,0.5]",), ("scale", "[2.0, 0.5]")),
    "all classes novel": (("data.novel_ratio=1.5",), ("novel_ratio",)),
}


@pytest.mark.parametrize("hole", HOLES)
def test_known_holes(hole: str, refusal: Refusal, tmp_path: Path) -> None:
    main, arguments, expected = HOLES[hole]
    line = refusal(main, *(("trainer.max_steps=1",) if main is train.main else ()), *arguments)
    assert all(part in line for part in expected), line
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("argument", "told"), [("model=huge", "model/huge"), ("optim.rate=1", "rate")])
def test_hydra_refuses_by_itself(
    argument: str, told: str, command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        command(train.main, argument, folder=tmp_path)
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert told in message
    assert "Traceback" not in message


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case: str, small: tuple[str, ...], few_scenes: tuple[str, ...], refusal: Refusal) -> None:
    settings, expected = CONTRADICTIONS[case]
    line = refusal(train.main, *small, *few_scenes, *settings)
    assert all(part in line for part in expected), line


def test_settings_of_the_user_pass(tmp_path: Path) -> None:
    """Code of one's own takes what it likes, and other settings may refer to what is added."""
    config = composed("default", tmp_path)
    own = {"_target_": "collections.OrderedDict", "anything": ["goes"], "size": -1}
    with changed(config, ("callbacks", "mine"), own):
        check_settings(config, "train")
    OmegaConf.set_struct(config, False)
    config.side = 64
    config.data.train.size = "${side}"
    check_settings(config, "train")


@pytest.mark.parametrize(
    "arguments", [("train", "optim.lr=-1", "name=run"), ("predict", "ckpt=a", "source=b", "out=7")]
)
def test_in_a_shell(arguments: tuple[str, ...], tmp_path: Path) -> None:
    call = [sys.executable, "-m", "weakshot_seg", *arguments]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert ("optim.lr=-1" in line) or ("out=7" in line)
    assert not list(tmp_path.iterdir())
