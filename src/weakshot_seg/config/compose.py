"""Where the YAML files lie, and settings as plain containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from weakshot_seg.errors import ConfigError


def conf_dir() -> Path:
    """The absolute folder of the YAML files: inside the package of a wheel, beside ``src`` in a working copy.

    Raises:
        FileNotFoundError: the installation has no configuration.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "conf", package.parents[1] / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise FileNotFoundError(f"no train.yaml in {places[0]} or {places[1]}: install weakshot-seg again")


def plain(config: Any) -> Any:
    """A configuration node as plain dicts and lists with everything resolved (safe to store in a checkpoint)."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def raw(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain dicts and lists with its interpolations as they are written."""
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def resolved(config: DictConfig) -> dict[str, Any]:
    """As :func:`plain`, for settings that the user may have written.

    Raises:
        ConfigError: naming a setting that has no value or cannot be resolved.
    """
    for key, value in leaves(raw(config)):
        if not isinstance(value, str) or "${" not in value:
            continue
        try:
            OmegaConf.select(config, key)
        except InterpolationToMissingValueError:  # reported below, by the setting that has no value
            continue
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0].split("resolving interpolation: ")[-1].strip('"')
            raise ConfigError(
                f"{key}={value!r} cannot be resolved ({reason}): correct it; ${{oc.env:NAME,DEFAULT}} has a default"
            ) from error
    try:
        content: dict[str, Any] = plain(config)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value: give one with {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return content


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """All values within plain containers, and empty containers, with their full names."""
    if isinstance(node, dict | list | tuple) and node:
        for name, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, node
