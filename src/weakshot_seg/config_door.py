"""What is refused before Hydra uses any setting: it makes its folder and writes all settings down first."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.errors import ConfigError

SECRET = re.compile(r"(api_?key|access_?key|token|password|secret)$", re.IGNORECASE)
"""Ends of the names of secrets."""
REFERENCE = re.compile(r"(?<!\\)\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
"""An interpolation of another setting by its full name."""
HYDRAS = ("run", "sweep", "job")
"""Hydra's settings that users change and that are needed at once."""


class Door(Callback):
    """Hydra callback: :func:`check_raw` before Hydra makes a folder; one line on stderr and exit code 2."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a single run. Hydra turns other errors of a callback than SystemExit into warnings."""
        try:
            check_raw(config)
        except ConfigError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
            raise SystemExit(2) from None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """For a sweep."""
        self.on_run_start(config)


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
