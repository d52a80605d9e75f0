"""Every shipped YAML file composes, and what it names exists and takes the values it gives."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from weakshot_seg.config import conf_dir
from weakshot_seg.config.commands import COMMANDS
from weakshot_seg.config.compose import leaves, raw
from weakshot_seg.config.schema import check_settings

OPTIONS = sorted(path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*/*.yaml"))
CASES = [
    *((command, "") for command in COMMANDS),
    *(("train", "=".join(option.rsplit("/", 1))) for option in OPTIONS if not option.startswith("hydra/")),
    *(("evaluate", "=".join(o.rsplit("/", 1))) for o in OPTIONS if o.startswith(("data/", "trainer/"))),
]


def test_all_files_are_known() -> None:
    assert {path.stem for path in conf_dir().glob("*.yaml")} == set(COMMANDS)
    groups = {option.rsplit("/", 1)[0] for option in OPTIONS}
    assert groups >= {"data", "model", "loss", "loss/assignment", "loss/mask", "optim", "trainer", "callbacks"}
    assert groups >= {"logger", "experiment", "inference", "stage", "variant"}


@pytest.mark.parametrize(("command", "option"), CASES)
def test_configuration(command: str, option: str, tmp_path: Path) -> None:
    overrides = [option] if option else []
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(command, [*overrides, f"hydra.runtime.output_dir={tmp_path}"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    for key, value in leaves(raw(own)):
        if value == "???":
            OmegaConf.update(own, key, "PLACE")
    if option == "loss=terms":  # lacks the parts that other files of the group add
        return
    check_settings(own, command)
