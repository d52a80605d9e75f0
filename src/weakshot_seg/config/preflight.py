"""What is refused before Hydra uses any setting: it makes its folder and writes all settings down first."""

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
from omegaconf.errors import InterpolationKeyError, InterpolationToMissingValueError, OmegaConfBaseException

from weakshot_seg.config.compose import leaves, raw
from weakshot_seg.config.schema import check_settings
from weakshot_seg.errors import ConfigError

SECRET = re.compile(r"(api_?key|access_?key|token|password|secret)$", re.IGNORECASE)  # ends of the names of secrets
HYDRAS = ("hydra.run.", "hydra.sweep.", "hydra.job.")  # settings that users change and that are needed at once


class Preflight(Callback):
    """Hydra callback: the checks below before Hydra makes a folder; one line on stderr and exit code 2."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a single run: see :func:`prepare`."""
        with _refusing():
            prepare(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a sweep, whose jobs have settings of their own and may run where other environment variables are set."""
        with _refusing(), _in_force(config):
            _check_written(config, InterpolationKeyError)
            _folder(config, "sweep.dir", make=config.hydra.output_subdir is not None)


def prepare(config: DictConfig) -> None:
    """Checks all settings of a single run, makes its folder and claims it for this process; else a ConfigError.

    The folder is fixed in ``hydra.run.dir``; one that is given without interpolations is left to ``run_lock``.
    """
    with _in_force(config):
        _check_written(config, OmegaConfBaseException)
        _set(config, "runtime.output_dir", str(Path(_folder(config, "run.dir")).absolute()))
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        check_settings(own, config.hydra.job.config_name)
        _set(config, "job.num", 0)  # it starts: now ${run_folder:} claims what it names
        _set(config, "run.dir", _folder(config, "run.dir", make=config.hydra.output_subdir is not None))
        _set(config, "job.num", MISSING)


def _check_written(cfg: DictConfig, refused: type[Exception]) -> None:
    """Refuses secrets, without showing them, and interpolations that fail with a ``refused`` kind of error."""
    own, run = "hydra.", "hydra.run."  # these refer to the others: last
    for key, value in sorted(leaves(raw(cfg)), key=lambda item: item[0].startswith(own) + item[0].startswith(run)):
        if value and isinstance(value, str) and SECRET.search(key):
            raise ConfigError(
                f"{key} is a secret, and settings are written to the output folder: leave it out; for W&B use "
                "`wandb login` or the environment variable WANDB_API_KEY"
            )
        if (key.startswith("hydra.") and not key.startswith(HYDRAS)) or "${" not in str(value):
            continue
        try:
            OmegaConf.select(cfg, key)
        except InterpolationToMissingValueError:
            pass  # what is missing is refused by itself
        except OmegaConfBaseException as error:
            if isinstance(error, refused):
                reason = str(error).splitlines()[0].split("resolving interpolation: ")[-1].strip('"')
                raise ConfigError(
                    f"{key}={value!r} cannot be resolved ({reason}): correct it; ${{oc.env:NAME,DEFAULT}} has a default"
                ) from error


def _set(cfg: DictConfig, key: str, value: Any) -> None:
    with read_write(cfg.hydra):
        OmegaConf.update(cfg.hydra, key, value)
    HydraConfig.instance().set_config(cfg)


@contextmanager
def _in_force(config: DictConfig) -> Iterator[None]:
    """``${hydra:...}`` is resolved as in the job, of whose settings folders are made."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(config)
    try:
        yield
    finally:
        hydra.cfg = before


@contextmanager
def _refusing() -> Iterator[None]:
    """Errors end the process."""
    try:
        yield
    except ConfigError as error:  # Hydra turns errors of a callback other than SystemExit into warnings
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def _folder(cfg: DictConfig, setting: str, make: bool = False) -> str:
    """The folder that a setting names; ``make`` makes it and writes to it: Hydra's own errors would be tracebacks."""
    folder = ""
    try:
        folder = str(OmegaConf.select(cfg.hydra, setting))
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
            raise ConfigError(f"hydra.{setting} cannot be resolved: {error}") from error
        raise ConfigError(
            f"nothing can be written to {reason.filename or folder} ({reason.strerror}): make room, or choose another "
            f"place for the results (hydra.{setting}=DIR)"
        ) from error
