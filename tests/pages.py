"""README and the pages of ``docs/`` as text: their code blocks, links, headings and settings."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
GENERATED = {"docs/reference/commands.md", "docs/reference/settings.md"}  # by scripts/make_reference.py
PAGES = [page for page in PAGES if page.relative_to(ROOT).as_posix() not in GENERATED]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code, its language and title."""

    page: str
    language: str
    title: str
    text: str


def blocks(language: str) -> list[Block]:
    """Those of all pages."""
    found = ((page, FENCE.findall(page.read_text(encoding="utf-8"))) for page in PAGES)
    all_of = [Block(page.relative_to(ROOT).as_posix(), *parts) for page, several in found for parts in several]
    return [block for block in all_of if block.language == language]


def prose(page: Path) -> str:
    """The text without its blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Names of the headings, as Python-Markdown makes them."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}
