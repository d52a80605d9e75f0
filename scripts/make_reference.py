"""Writes docs/reference/commands.md and settings.md from conf/ and the annotations of the constructors.

python scripts/make_reference.py            # make docs calls it
"""

import argparse
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir

from weakshot_seg import __main__ as command_line
from weakshot_seg.cli.settings import kind_of, settings_of
from weakshot_seg.config.commands import COMMANDS
from weakshot_seg.config.compose import conf_dir, leaves
from weakshot_seg.config.schema import HYDRAS_OWN, TRAINER, TYPED
from weakshot_seg.config.signatures import signature
from weakshot_seg.config.types import shown

DOCS = Path(__file__).resolve().parents[1] / "docs"
HYDRAS = ("hydra", "experiment/ablation.yaml")  # which set nothing but Hydra's own


@dataclass(frozen=True)
class Row:
    """A setting in a file of ``conf``, by its full name."""

    name: str
    value: Any
    kind: str
    remark: str


@dataclass(frozen=True)
class File:
    """A file of ``conf/GROUP``."""

    path: Path

    @property
    def choice(self) -> str:
        """As it is chosen on the command line, without ``.yaml``: group and name."""
        group, name = self.path.parent.relative_to(conf_dir()).as_posix(), self.path.stem
        added = group == "callbacks" and name not in ("default", "evaluate")
        return f"{group}=[default,{name}]" if added else f"{group}={name}"

    @property
    def text(self) -> str:
        """The YAML."""
        return self.path.read_text(encoding="utf-8")

    @property
    def package(self) -> str:
        """Where its settings stand among all."""
        if found := re.search(r"^# @package (\S+)", self.text, re.MULTILINE):
            return "" if found[1] == "_global_" else found[1]
        return self.path.parent.relative_to(conf_dir()).as_posix().replace("/", ".")

    @property
    def intro(self) -> list[str]:
        """The comment at its head."""
        return head_of(self.text)

    @property
    def tree(self) -> dict[str, Any]:
        """Its settings by their full names, as nested dicts."""
        tree = yaml.safe_load(self.text) or {}
        tree = {key: value for key, value in tree.items() if key not in ("defaults", "hydra")}
        for part in reversed(self.package.split(".") if self.package else []):
            tree = {part: tree}
        return tree

    @property
    def base(self) -> list[str]:
        """Other files whose settings it takes first."""
        defaults = (yaml.safe_load(self.text) or {}).get("defaults", [])
        return [name for name in defaults if isinstance(name, str) and name != "_self_"]

    def rows(self) -> Iterator[Row]:
        """What it sets itself."""
        remarks = remarks_of(self.text, self.package)
        for name, value in settings_in(self.tree):
            yield Row(name, value, kind(name), remarks.get(name, ""))


def settings_in(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Full name and value of all settings within nested dicts; lists are values."""
    if isinstance(node, dict) and node:
        for key, child in node.items():
            if key not in HYDRAS_OWN:
                yield from settings_in(child, f"{name}.{key}" if name else key)
    elif name:
        yield name, node


def head_of(text: str) -> list[str]:
    """The lines of the comment at the head of a YAML file."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line[2:] for line in lines[:end]]


def remarks_of(text: str, package: str) -> dict[str, str]:
    """The comments beside settings, and below them if they go on there, by full names."""
    lines, found = text.splitlines(), {}

    def walk(node: yaml.Node, name: str) -> None:
        for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
            full = f"{name}.{key.value}" if name else key.value
            walk(child, full)
            at = key.start_mark.line
            if beside := re.search(r"\s#\s*(.*)", lines[at]):
                more = (line.strip() for line in lines[at + 1 :])
                below = []
                for line in more:
                    if not line.startswith("#"):
                        break
                    below.append(line.lstrip("# "))
                found[full] = " ".join([beside[1], *below])

    if (root := yaml.compose(text)) is not None:
        walk(root, package)
    return found


def files() -> list[File]:
    """All files of groups, in the order of their names."""
    found = (path for path in conf_dir().rglob("*.yaml") if path.parent != conf_dir())
    paths = sorted(found, key=lambda path: (path.parent, path.stem))
    return [File(p) for p in paths if not p.relative_to(conf_dir()).as_posix().startswith(HYDRAS)]


@cache
def targets() -> dict[str, str]:
    """What is built from the settings below a full name."""
    found: dict[str, str] = {}
    for file in files():
        for name, value in leaves(file.tree):
            if name.endswith("._target_") and isinstance(value, str):
                found.setdefault(name.removesuffix("._target_"), value)
    return found


def kind(name: str) -> str:
    """Type and range of a setting in words, by the constructor that takes it; empty where that does not say."""
    parent, _, argument = name.rpartition(".")
    if name in COMMANDS["train"]:
        return kind_of(COMMANDS["train"][name])
    target = targets().get(parent, "")
    taken = signature(target, trusted=True).arguments | (TRAINER if target == "pytorch_lightning.Trainer" else {})
    known = argument in taken and target.startswith(TYPED)
    return kind_of(taken[argument][0]) if known else ""


def is_known(name: str) -> bool:
    """Whether a full name is a setting: in some file, or an argument of what is built there."""
    if name in COMMANDS["train"] or any(name in (row.name, *parents(row.name)) for row in all_rows()):
        return True
    parent, _, argument = name.rpartition(".")
    taken = signature(targets().get(parent, "nothing"), trusted=True)
    return argument in taken.arguments


def parents(name: str) -> list[str]:
    """The groups that a setting lies in."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(1, len(parts))]


@cache
def all_rows() -> tuple[Row, ...]:
    """Those of all files."""
    return tuple(row for file in files() for row in file.rows())


def cell(text: str) -> str:
    """Text within a table of Markdown."""
    return re.sub(r"([*_\[|`])", r"\\\1", html.escape(text, quote=False))


def table(rows: Iterator[tuple[str, Any, str, str]]) -> list[str]:
    """Settings with default, type and remark."""
    lines = ["| Setting | Value | What it is |", "|---|---|---|"]
    for name, value, what, remark in rows:
        about = "; ".join(filter(None, (what, remark)))
        value = value.replace("|", "\\|")
        lines.append(f"| `{name}` | `{value}` | {cell(about)} |")
    return [*lines, ""]


def commands_page() -> str:
    """Every command with all settings of its own."""
    lines = [
        "# Commands",
        "",
        "Generated from the settings of the commands; `weakshot COMMAND --help` prints the same.",
    ]
    lines += [
        "Settings are `NAME=VALUE`. Values of a *group* are files of `conf/`, see [all settings](settings.md).",
        "",
    ]
    for title, about in command_line.COMMANDS.items():
        name = title.replace("-", "_")
        head = head_of((conf_dir() / f"{name}.yaml").read_text(encoding="utf-8"))
        lines += [f"## weakshot {title}", "", f"{about[0].upper()}{about[1:]}.", "", *fence(head)]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose(name, return_hydra_config=True)
        lines += table((s.name, s.value, s.kind, s.remark) for s in settings_of(name, config))
    return "\n".join(lines)


def settings_page() -> str:
    """Every file of every group with what it sets."""
    lines = [
        "# All settings",
        "",
        "Generated from `conf/` and the annotations of what is built from it. Give any of them",
    ]
    lines += ["by its full name, as in `optim.lr=1e-4`; `GROUP=FILE` chooses a file.", ""]
    group = ""
    for file in files():
        if (now := file.choice.split("=")[0]) != group:
            group = now
            lines += [f"## {group}", ""]
        lines += [f"### {file.choice}", "", *fence(file.intro)]
        if file.base:
            lines += [f"First all of {' and '.join(f'`{name}`' for name in file.base)}, then:", ""]
        if rows := list(file.rows()):
            lines += table((r.name, shown(r.value).strip("'"), r.kind, r.remark) for r in rows)
    return "\n".join(lines)


def fence(lines: list[str]) -> list[str]:
    """Lines as they are typed."""
    return ["```text", *lines, "```", ""] if lines else []


def main() -> None:
    """Writes both pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the documentation")
    reference = parser.parse_args().docs / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    for name, page in {"commands": commands_page(), "settings": settings_page()}.items():
        (reference / f"{name}.md").write_text(page, encoding="utf-8")
        print(reference / f"{name}.md")


if __name__ == "__main__":
    main()
