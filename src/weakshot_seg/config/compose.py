"""Where the YAML files lie, and settings as plain containers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

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
    """As :func:`plain`; a ConfigError naming a setting that has no value."""
    for key, value in leaves(raw(config)):
        if value == "???":
            raise ConfigError(f"{key} has no value: give one with {key}=...")
    return cast(dict[str, Any], plain(config))


def several(setting: Any) -> list[str]:
    """A setting that is one thing, a list of them, or null."""
    parts = setting if isinstance(setting, ListConfig) else [] if setting is None else [setting]
    return [str(part) for part in parts]


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values within plain containers, and empty containers, with their full names."""
    if isinstance(node, dict | list | tuple) and node:
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
