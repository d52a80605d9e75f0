"""Every shipped YAML file composes, and what it names exists and takes the arguments it gives."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import OmegaConf
from pytorch_lightning.loggers import WandbLogger

from weakshot_seg.config.compose import conf_dir
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.training.callbacks.wandb_logger import ResilientWandbLogger

ENTRIES = sorted(path.stem for path in conf_dir().glob("*.yaml"))
OPTIONS = sorted(path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*/*.yaml"))
USED_BY = {"evaluate": ("data", "trainer", "callbacks")}
CASES = [
    *((entry, ()) for entry in ENTRIES),
    *(("train", ("=".join(option.rsplit("/", 1)),)) for option in OPTIONS if not option.startswith("hydra/")),
    *(("evaluate", ("=".join(o.rsplit("/", 1)),)) for o in OPTIONS if o.startswith(("data/", "trainer/"))),
]
# Functions that hand on keyword arguments they do not know.
HAND_ON: dict[Callable[..., Any], Callable[..., Any]] = {
    WeakShotDataModule.from_folders: WeakShotDataModule,
    WeakShotDataModule.from_official: WeakShotDataModule,
    ResilientWandbLogger: WandbLogger,
    WandbLogger: wandb.init,
}


def nodes_with_target(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from nodes_with_target(child)


def unknown_arguments(target: Callable[..., Any], names: set[str]) -> set[str]:
    parameters = inspect.signature(target).parameters
    rest = names - parameters.keys()
    if rest and any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return unknown_arguments(HAND_ON[target], rest)
    return rest


def composed(entry: str, overrides: tuple[str, ...], output_dir: Path) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(entry, [*overrides, f"hydra.runtime.output_dir={output_dir}"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    content: dict[str, Any] = OmegaConf.to_container(own, resolve=True)
    return content


def test_all_entry_points_and_groups_are_known() -> None:
    assert {"train", "evaluate", "predict", "pseudo_label"} <= set(ENTRIES)
    groups = {option.rsplit("/", 1)[0] for option in OPTIONS}
    assert groups >= {
        "data",
        "model",
        "loss",
        "loss/assignment",
        "optim",
        "trainer",
        "callbacks",
        "logger",
        "experiment",
        "inference",
        "stage",
        "variant",
    }


@pytest.mark.parametrize(
    ("entry", "overrides"), CASES, ids=lambda value: value if isinstance(value, str) else "".join(value)
)
def test_configuration(entry: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    for node in nodes_with_target(composed(entry, overrides, tmp_path)):
        target = get_object(node["_target_"])
        arguments = {name for name in node if name not in ("_target_", "_partial_", "_convert_", "_recursive_")}
        assert not unknown_arguments(target, arguments), node["_target_"]


def test_an_argument_nobody_takes_would_be_noticed() -> None:
    assert unknown_arguments(WeakShotDataModule.from_folders, {"root", "batch_size", "bach_size"}) == {"bach_size"}
    assert unknown_arguments(ResilientWandbLogger, {"save_dir", "mode", "mood"}) == {"mood"}
