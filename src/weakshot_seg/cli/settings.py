"""``--help`` and tab completion, which need the settings of a command but nothing it imports."""

import os
import re
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from weakshot_seg.config.commands import COMMANDS, Group
from weakshot_seg.config.compose import conf_dir, raw
from weakshot_seg.config.types import described, shown

FOOTER = """
A group takes the name of a file of conf/GROUP, and each of its settings can be given by its full name: optim.lr=1e-4.
{command} GROUP=FILE --cfg job    all settings, composed, and nothing is run
{command} --hydra-help            further options, such as -m (several jobs)"""
UNLIMITED = re.compile(r" and at most (1e\+09|1000000000)| \(quote .*?\)")
COMMENT = re.compile(r"^(?:  - )?(\w+):[^#\n]*#\s*(.*(?:\n +#.*)*)$", re.MULTILINE)


def show(command: str) -> None:
    """Lets Hydra answer ``--help`` or ``-sc ...`` in ``sys.argv`` for a command, which is not run."""
    name = command.replace("-", "_")
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(lambda cfg: None)()


def complete(commands: Collection[str]) -> None:
    """Lets Hydra answer ``-sc install=SHELL`` and the like; for ``-sc query=SHELL`` the line is in ``COMP_LINE``."""
    typed = re.match(r"\s*(\S+)\s+(\S+)\s(.*)", os.environ.get("COMP_LINE", ""))
    if "COMP_LINE" not in os.environ:
        show("train")
    elif typed and typed[2] in commands:
        os.environ["COMP_LINE"] = f"{typed[1]} {typed[3]}"
        show(typed[2])
    else:
        print("\n".join(commands))


def settings_help(name: str, _root_: DictConfig) -> str:
    """Resolver ``${settings_help:NAME}``, for Hydra's ``help.template``; the name is that of a file in ``conf``."""
    if name not in COMMANDS:  # a configuration of the user's own
        return "$CONFIG"
    command = f"weakshot {name.replace('_', '-')}"
    lines = [f"usage: {command} [SETTING=VALUE ...]", ""]
    for setting in settings_of(name, _root_):
        lines.append(f"  {setting.name}={setting.value}")
        text = "; ".join(filter(None, (setting.kind, setting.remark)))
        lines += textwrap.wrap(text, 110, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([*lines, FOOTER.format(command=command)]).replace("$", "$$")


@dataclass(frozen=True)
class Setting:
    """A setting of a command as text: its default ``value``, ``(needed)`` without one, its type and range ``kind``."""

    name: str
    value: str
    kind: str
    remark: str


def settings_of(name: str, root: DictConfig) -> Iterator[Setting]:
    """All of a command; ``root`` is its composed configuration with those of Hydra."""
    values, choices, remarks = raw(root), raw(root.hydra.runtime.choices), _remarks(name)
    for key, hint in COMMANDS[name].items():
        is_group = hint in (Group, Group | None)
        value = choices.get(key) if is_group else values.get(key)
        files = sorted(path.stem for path in (conf_dir() / key).glob("*.yaml"))
        kind = ": ".join(filter(None, ["a group of settings", ", ".join(files)])) if is_group else kind_of(hint)
        yield Setting(key, "(needed)" if value == "???" else shown(value).strip("'"), kind, remarks.get(key, ""))


def kind_of(hint: Any) -> str:
    """Type and range of an annotation, as ``a number (at least 0 and at most 1)``."""
    return UNLIMITED.sub("", described(hint))


def _remarks(name: str) -> dict[str, str]:
    """The comments beside the settings of a YAML file, and of those that it includes."""
    text = (conf_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    included = (other for other in re.findall(r"^  - (\w+)\s*(?:#.*)?$", text, re.MULTILINE) if other != "_self_")
    remarks = {key: remark for other in included for key, remark in _remarks(other).items()}
    return remarks | {key: re.sub(r"\s*\n +#\s*", " ", remark) for key, remark in COMMENT.findall(text)}


OmegaConf.register_new_resolver("settings_help", settings_help, replace=True)
