"""What the pages refer to is there: pages, headings, settings, Python names; and all pages are in the navigation."""

import ast
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import weakshot_seg
from make_reference import commands_page, is_known, settings_page
from pages import GENERATED, PAGES, ROOT, anchors, blocks, prose
from weakshot_seg.config.commands import COMMANDS
from weakshot_seg.config.compose import conf_dir

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """All pages, the generated ones too."""
    made = dict(zip(sorted(GENERATED), (commands_page(), settings_page()), strict=True))
    return {page: page.read_text(encoding="utf-8") for page in PAGES} | {
        ROOT / name: text for name, text in made.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_and_anchors(page: Path, texts: dict[Path, str]) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file in texts or file.exists(), target
        assert not anchor or anchor in anchors(texts[file]), target


def test_all_pages_are_in_the_navigation() -> None:
    def leaves(node: Any) -> Iterator[str]:
        for child in node if isinstance(node, list) else node.values():
            if isinstance(child, str):
                yield child
            else:
                yield from leaves(child)

    listed = list(leaves(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    in_docs = {name.removeprefix("docs/") for name in {*NAMES, *GENERATED} if name.startswith("docs/")}
    assert sorted(listed) == sorted(in_docs)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def settings_in(text: str) -> list[tuple[str, str]]:
    """Name and value of all settings between backticks."""
    spans = [span for span in re.findall(r"`([^`\n]+)`", text) if "(" not in span]  # no calls in Python
    words = [word for span in spans for word in span.split()]
    return [pair for word in words for pair in re.findall(r"^'?([a-z][\w./@]*)=(.*?)'?$", word)]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_settings_exist(page: Path) -> None:
    of_commands = {name for settings in COMMANDS.values() for name in settings}
    for name, value in settings_in(prose(page)):
        group = conf_dir() / name.split("@")[0].replace(".", "/")
        if group.is_dir() and name not in ("model", "data"):
            files = [part for part in value.strip("[]").split(",") if part and part.isidentifier() and part.islower()]
            assert all((group / f"{part}.yaml").is_file() for part in files), (name, value)
        else:
            assert name in of_commands or name.startswith("hydra.") or is_known(name), name


def test_a_setting_that_does_not_exist_is_found() -> None:
    assert settings_in("x `lr=3` and `~a.b data.root=DIR`") == [("lr", "3"), ("data.root", "DIR")]
    assert not is_known("data.rot")
    assert not is_known("model.backbone.nme")
    assert is_known("model.backbone.norm_outputs")  # an argument that no file sets


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_python_is_python_and_names_exist(block: Any) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "weakshot_seg":
            assert hasattr(weakshot_seg, node.attr), node.attr


def test_docstrings_on_the_pages_have_no_roles_of_sphinx() -> None:
    """They would be shown as they are."""
    names = [name for page in PAGES for name in re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.MULTILINE)]
    assert len(names) > 5
    for name in names:
        thing = pkgutil.resolve_name(name)
        members = [member for key, member in vars(thing).items() if key[0] != "_"] if isinstance(thing, type) else []
        for member in (thing, *members):
            assert not re.search(":[a-z]+:`", member.__doc__ or ""), member
