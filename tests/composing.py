"""Settings of a command as they are checked, without running it."""

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.cli import settings  # noqa: F401  its resolver is used in conf/hydra
from weakshot_seg.config.compose import conf_dir


def compose_all(command: str, *overrides: str) -> DictConfig:
    """With those of Hydra in ``hydra``."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(command, list(overrides), return_hydra_config=True)


def compose_own(command: str, *overrides: str) -> DictConfig:
    """Without those of Hydra, which interpolations can refer to."""
    config = compose_all(command, *overrides, "hydra.runtime.output_dir=RUN")
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
