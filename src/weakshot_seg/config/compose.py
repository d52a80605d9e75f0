"""Where the YAML files lie, and settings as plain containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from weakshot_seg.errors import ConfigError


def conf_dir() -> Path:
    """The absolute folder of the YAML files: inside the package of a wheel, beside ``src`` in a working copy."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def plain(config: Any) -> Any:
    """A configuration node as plain dicts and lists with everything resolved (safe to store in a checkpoint)."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def raw(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain dicts and lists with its interpolations as they are written."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))


def resolved(config: DictConfig) -> dict[str, Any]:
    """As :func:`plain`, for settings that the user may have written.

    Raises:
        ConfigError: naming a setting that has no value or cannot be resolved.
    """
    for key, value in leaves(raw(config)):
        if value == "???":
            raise ConfigError(f"{key} has no value: give one with {key}=...")
        check_interpolation(config, key, value)
    return cast(dict[str, Any], plain(config))


def check_interpolation(
    config: DictConfig, key: str, value: Any, refused: type[Exception] = OmegaConfBaseException
) -> None:
    """Refuses a setting that cannot be resolved, for a ``refused`` kind of error; not if it refers to a missing value.

    Raises:
        ConfigError: naming the setting and the reason.
    """
    if not isinstance(value, str) or "${" not in value:
        return
    try:
        OmegaConf.select(config, key)
    except InterpolationToMissingValueError:
        pass
    except OmegaConfBaseException as error:
        if isinstance(error, refused):
            reason = str(error).splitlines()[0].split("resolving interpolation: ")[-1].strip('"')
            raise ConfigError(
                f"{key}={value!r} cannot be resolved ({reason}): correct it; ${{oc.env:NAME,DEFAULT}} has a default"
            ) from error


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values within plain containers, and empty containers, with their full names."""
    if isinstance(node, dict | list | tuple) and node:
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
