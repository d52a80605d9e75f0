"""What a command line itself says, apart from the defaults in the files of ``conf/``."""

import re
from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.config.compose import leaves, raw

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def named_settings(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The settings of a group that the command line names, or that refer to one it names, by their names within it."""
    overrides = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    named = {override.key_or_group for override in overrides}
    found = [key for key in named if key.startswith(f"{group}.")]
    found += [key for key, value in leaves(raw(cfg)) if key.startswith(f"{group}.") and named & _referred(value)]
    values = {key: OmegaConf.select(cfg, key) for key in found}
    return {
        key.removeprefix(f"{group}."): OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


def with_settings(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings with some of them replaced or added, at any depth: ``{"val_transform.short_edge": 96}``."""
    changed = OmegaConf.create(dict(settings))
    for key, value in changes.items():
        OmegaConf.update(changed, key, value, merge=False, force_add=True)
    result = OmegaConf.to_container(changed)
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}


def _referred(value: object) -> set[str]:
    return set(REFERENCE.findall(value)) if isinstance(value, str) else set()
