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
                _try(config, "hydra.sweep.dir")


def check_written(cfg: DictConfig) -> None:
    """Refuses secrets, and interpolations of settings that do not exist. Nothing is resolved.

    Args:
        cfg: all settings, those of Hydra in ``hydra``.

    Raises:
        ConfigError: naming the setting and the remedy, never the secret.
    """
    written = raw(cfg)
    # Hydra's own last: they repeat the command line
    for key, value in sorted(leaves(written), key=lambda leaf: leaf[0].startswith("hydra.")):
        if not isinstance(value, str):
            continue
        if value and SECRET.search(key):
            raise ConfigError(
                f"{key} is a secret, and settings are written to the output folder: leave it out; for W&B use "
                "`wandb login` or the environment variable WANDB_API_KEY"
            )
        if key.startswith("hydra.") and key.split(".")[1] not in HYDRAS:
            continue
        for name in REFERENCE.findall(value):
            if not _exists(written, name):
                raise ConfigError(f"{key}={value!r} refers to {name}, which is no setting: correct the name")


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
        for find in (lambda: ".", lambda: _folder(cfg, "hydra.run.dir")):  # its name may depend on settings
            with read_write(cfg.hydra):
                cfg.hydra.runtime.output_dir = str(Path(find()).absolute())
            HydraConfig.instance().set_config(cfg)
            resolved(own)
        check_settings(own, cfg.hydra.job.config_name)
        if cfg.hydra.output_subdir is None:  # results go elsewhere
            return
        with read_write(cfg.hydra):
            cfg.hydra.job.num = 0  # it starts: now ${run_folder:} claims what it names
            cfg.hydra.run.dir = _try(cfg, "hydra.run.dir")
            cfg.hydra.job.num = MISSING


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


def _folder(cfg: DictConfig, setting: str) -> str:
    try:
        return str(OmegaConf.select(cfg, setting))
    except OmegaConfBaseException as error:
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):
            reason = reason.__cause__ or reason.__context__
        if reason is not None:  # of making a folder
            raise reason from error
        raise ConfigError(f"{setting}: {error}") from error


def _try(cfg: DictConfig, setting: str) -> str:
    """Makes the output folder and writes to it, because Hydra's own errors would be tracebacks."""
    folder = ""
    try:
        folder = _folder(cfg, setting)
        if cfg.hydra.output_subdir is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:
                file.write(bytes(4096))
        return folder
    except OSError as error:
        raise ConfigError(
            f"nothing can be written to {error.filename or folder} ({error.strerror}): make room, or choose another "
            f"place for the results ({setting}=DIR)"
        ) from error


def _exists(written: Any, name: str) -> bool:
    node = written
    for part in name.split("."):
        if isinstance(node, str):  # an interpolation itself
            return True
        if isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            return False
    return True
