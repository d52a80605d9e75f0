"""``--help`` and tab completion, which need the settings of a command but nothing it imports."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

import hydra
from omegaconf import DictConfig

from weakshot_seg.config import conf_dir


def show(command: str) -> None:
    """Lets Hydra answer ``--help`` or ``-sc ...`` in ``sys.argv`` for a command."""

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command.replace("-", "_"))
    def nothing(cfg: DictConfig) -> None:
        raise SystemExit("only --help and -sc install=, uninstall= and query= are answered here")

    nothing()


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
