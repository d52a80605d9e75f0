"""Any wrong setting is refused in one line that names it, or it is one that can be built: never a traceback."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.config import conf_dir, mendable, shipped_settings
from weakshot_seg.config_check import BUILT, check_settings
from weakshot_seg.trainer import make_trainer

Refusal = Callable[..., str]
Path_ = tuple[str | int, ...]

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
}


def composed(base: str, folder: Path) -> DictConfig:
    entry, overrides = BASES[base]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(entry, [*overrides, f"hydra.runtime.output_dir={folder}"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def leaves(node: Any, path: Path_ = ()) -> Iterator[Path_]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from leaves(child, (*path, name))
    if path:
        yield path


@contextmanager
def changed(config: DictConfig, path: Path_, value: Any) -> Iterator[DictConfig]:
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
    if entry == "check" and group != "data":
        return
    if group == "trainer":
        make_trainer(config.trainer, logger=False)
    elif group in BUILT and group != "logger":  # a logger starts a run
        instantiate(config[group], **({"num_classes": 16} if group == "model" else {}))


def told(path: Path_, value: Any, message: str) -> bool:
    """Whether a message names a setting, the node it belongs to, its value, or another setting that refers to it."""
    names = [str(name) for name in path if isinstance(name, str)]
    parent = ".".join(names[:-1])
    return names[-1] in message or (parent and parent in message) or repr(value) in message or "interpol" in message


def outcome(config: DictConfig, path: Path_, entry: str) -> str:
    """``accepted`` or the line that the user sees; raises what would be a traceback."""
    try:
        check_settings(config, shipped_settings(entry))
        build(config, str(path[0]), entry)
    except Exception as error:
        line = mendable(error)
        if line is None:
            raise AssertionError(f"a traceback: {type(error).__name__}: {error}") from error
        return line
    return "accepted"


def sites(config: DictConfig, seen: set[tuple[str, str]]) -> Iterator[Path_]:
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
    check_settings(config, shipped_settings(entry))
    failures, refused, accepted = [], 0, 0
    for path in sites(config, seen):
        for kind, value in WRONG.items():
            try:
                with changed(config, path, value):
                    line = outcome(config, path, entry)
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
