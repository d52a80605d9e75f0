"""What is refused before Hydra uses any setting: it makes its folder and writes all settings down first."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import MISSING, DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from weakshot_seg.config.compose import leaves, raw, resolved
from weakshot_seg.config.schema import check_settings
from weakshot_seg.errors import ConfigError

SECRET = re.compile(r"(api_?key|access_?key|token|password|secret)$", re.IGNORECASE)
"""Ends of the names of secrets."""
REFERENCE = re.compile(r"(?<!\\)\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
"""An interpolation of another setting by its full name."""
HYDRAS = ("run", "sweep", "job")
"""Hydra's settings that users change and that are needed at once."""


class Preflight(Callback):
    """Hydra callback: the checks below before Hydra makes a folder; one line on stderr and exit code 2."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a single run: checks all settings, and claims its folder."""
        with _refusing():
            check_written(config)
            prepare_run(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a sweep, whose jobs have settings of their own and may run where other environment variables are set."""
        with _refusing():
            check_written(config)
            with _known_to_hydra(config):
                _folder(config, "hydra.sweep.dir", make=config.hydra.output_subdir is not None)


def check_written(cfg: DictConfig) -> None:
    """Refuses secrets, and interpolations of settings that do not exist. Nothing is resolved.

    Args:
        cfg: all settings, those of Hydra in ``hydra``.

    Raises:
        ConfigError: naming the setting and the remedy, never the secret.
    """
    values = dict(leaves(raw(cfg)))
    # Hydra's own last: they repeat the command line
    for setting, value in sorted(values.items(), key=lambda item: item[0].startswith("hydra.")):
        if not isinstance(value, str):
            continue
        if value and SECRET.search(setting):
            raise ConfigError(
                f"{setting} is a secret, and settings are written to the output folder: leave it out; for W&B use "
                "`wandb login` or the environment variable WANDB_API_KEY"
            )
        if setting.startswith("hydra.") and setting.split(".")[1] not in HYDRAS:
            continue
        for name in REFERENCE.findall(value):
            if not any(
                f"{key}.".startswith(f"{name}.") or (isinstance(node, str) and name.startswith(f"{key}."))
                for key, node in values.items()  # the latter: within what is an interpolation itself
            ):
                raise ConfigError(f"{setting}={value!r} refers to {name}, which is no setting: correct the name")


def prepare_run(cfg: DictConfig) -> None:
    """Checks the settings of a single run, then makes its folder and claims it for this process.

    The folder is fixed in ``hydra.run.dir``; a folder that is given without interpolations is left to ``run_lock``.

    Args:
        cfg: all settings, those of Hydra in ``hydra``.

    Raises:
        ConfigError: a setting is wrong, or nothing can be written to the folder.
    """
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    with _known_to_hydra(cfg):
        _set(cfg, "runtime.output_dir", ".")  # its name may depend on other settings
        resolved(own)
        _set(cfg, "runtime.output_dir", str(Path(_folder(cfg, "hydra.run.dir")).absolute()))
        check_settings(own, cfg.hydra.job.config_name)
        _set(cfg, "job.num", 0)  # it starts: now ${run_folder:} claims what it names
        _set(cfg, "run.dir", _folder(cfg, "hydra.run.dir", make=cfg.hydra.output_subdir is not None))
        _set(cfg, "job.num", MISSING)


def _set(cfg: DictConfig, key: str, value: Any) -> None:
    with read_write(cfg.hydra):
        OmegaConf.update(cfg.hydra, key, value)
    HydraConfig.instance().set_config(cfg)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Hydra turns errors of a callback other than SystemExit into warnings
        if not isinstance(error, ConfigError):
            traceback.print_exc()
            raise SystemExit(1) from None
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


@contextmanager
def _known_to_hydra(cfg: DictConfig) -> Iterator[None]:
    """Resolves ``${hydra:...}`` as in the job, of whose settings folders and others are made."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(cfg)
    try:
        yield
    finally:
        hydra.cfg = before


def _folder(cfg: DictConfig, setting: str, make: bool = False) -> str:
    """The folder that a setting names; ``make`` makes it and writes to it: Hydra's own errors would be tracebacks."""
    folder = ""
    try:
        folder = str(OmegaConf.select(cfg, setting))
        if make:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                file.write(bytes(4096))
        return folder
    except (OSError, OmegaConfBaseException) as error:
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):  # of claiming it
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise ConfigError(f"{setting} cannot be resolved: {error}") from error
        raise ConfigError(
            f"nothing can be written to {reason.filename or folder} ({reason.strerror}): make room, or choose another "
            f"place for the results ({setting}=DIR)"
        ) from error
