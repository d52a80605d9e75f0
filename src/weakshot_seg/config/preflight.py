"""What is refused before Hydra uses any setting: it makes its folder and writes all settings down first."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

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
        """For a single run."""
        self._refuse(config, check_raw, check_resolvable, partial(check_writable, setting="hydra.run.dir"))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a sweep, whose jobs may run where other environment variables are set."""
        self._refuse(config, check_raw, partial(check_writable, setting="hydra.sweep.dir"))

    @staticmethod
    def _refuse(config: DictConfig, *checks: Callable[[DictConfig], None]) -> None:
        try:
            for check in checks:
                check(config)
        except ConfigError as error:  # Hydra turns other errors of a callback than SystemExit into warnings
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            raise SystemExit(2) from None


def check_raw(cfg: DictConfig) -> None:
    """Refuses secrets, and interpolations of settings that do not exist.

    Nothing is resolved: that would take folders.

    Args:
        cfg: all settings, those of Hydra in ``hydra``.

    Raises:
        ConfigError: naming the setting and the remedy, never the secret.
    """
    raw = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(raw, dict)
    # Hydra's own last: they repeat what the command line says
    for key, value in sorted(_leaves(raw, ""), key=lambda leaf: leaf[0].startswith("hydra.")):
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
            if not _exists(raw, name):
                raise ConfigError(f"{key}={value!r} refers to {name}, which is no setting: correct the name")


def check_resolvable(cfg: DictConfig) -> None:
    """Refuses what cannot be resolved, as an environment variable that is not set. Those of Hydra are left to it.

    Args:
        cfg: all settings.

    Raises:
        ConfigError: naming the setting and the reason.
    """
    raw = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(raw, dict)
    for key, value in _leaves({name: node for name, node in raw.items() if name != "hydra"}, ""):
        if not isinstance(value, str) or "${" not in value:
            continue
        try:
            OmegaConf.select(cfg, key)
        except InterpolationToMissingValueError:  # whoever needs it says what is missing
            continue
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0].split("resolving interpolation: ")[-1].strip('"')
            if "HydraConfig" not in reason:  # ${hydra:...} is known later
                raise ConfigError(
                    f"{key}={value!r} cannot be resolved ({reason}): correct it; ${{oc.env:NAME,DEFAULT}} has a default"
                ) from error


def check_writable(cfg: DictConfig, setting: str) -> None:
    """Makes the output folder and tries it: Hydra's own errors would be tracebacks.

    Args:
        cfg: all settings.
        setting: the one that names the folder.

    Raises:
        ConfigError: naming the folder and the reason.
    """
    if cfg.hydra.output_subdir is None:  # results go elsewhere
        return
    hydra, folder = HydraConfig.instance(), ""
    before = hydra.cfg
    try:
        hydra.set_config(cfg)  # as Hydra does next; folders are named by ${hydra:...}
        folder = str(OmegaConf.select(cfg, setting))
        Path(folder).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except (OSError, OmegaConfBaseException) as error:
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):
            reason = reason.__cause__ or reason.__context__
        if reason is not None:  # else Hydra will say it
            raise ConfigError(
                f"nothing can be written to {reason.filename or folder} ({reason.strerror}): make room, or choose "
                f"another place for the results ({setting}=DIR)"
            ) from error
    finally:
        hydra.cfg = before


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict | list):
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _exists(raw: Any, name: str) -> bool:
    node = raw
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
