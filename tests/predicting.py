"""``weakshot predict`` without Hydra's start, which takes longer than a small prediction."""

from functools import cache

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.cli.predict import main
from weakshot_seg.config.compose import conf_dir


@cache
def shipped(inference: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("predict", [f"inference={inference}", "device=cpu"])


def predict(*settings: str) -> None:
    """As ``weakshot predict device=cpu SETTINGS``, each setting as ``key=value``; the last of a key counts."""
    given = dict(setting.split("=", 1) for setting in settings)
    base = shipped(given.pop("inference", "whole"))
    main.__wrapped__(OmegaConf.merge(base, OmegaConf.from_dotlist([f"{key}={given[key]}" for key in given])))
