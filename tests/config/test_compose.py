"""Where the configuration is found, and settings as plain containers."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue

from weakshot_seg.config.compose import conf_dir, plain, resolved
from weakshot_seg.errors import ConfigError


def test_conf_dir_is_absolute_and_holds_the_main_configuration() -> None:
    assert conf_dir().is_absolute()
    assert (conf_dir() / "train.yaml").is_file()


def test_plain_resolves_to_builtin_types() -> None:
    node = OmegaConf.create({"a": 1, "b": {"c": "${a}", "d": ["${a}", "x"]}})
    result = plain(node)
    assert result == {"a": 1, "b": {"c": 1, "d": [1, "x"]}}
    assert type(result["b"]) is dict
    assert type(result["b"]["d"]) is list
    with pytest.raises(MissingMandatoryValue):
        plain(OmegaConf.create({"a": "???"}))


def test_what_has_no_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^a\.b has no value: give one with a\.b="):
        resolved(OmegaConf.create({"a": {"b": "???"}, "c": "${a.b}"}))
