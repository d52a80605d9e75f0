"""Draws docs/images/house.svg, the parts of the package and their imports, and flow.svg of docs/explanation/flow.dot.

apt-get install graphviz
python scripts/draw_graphs.py
"""

import ast
import subprocess
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "weakshot_seg"
STYLE = """
  ranksep=0.35 nodesep=0.25
  node [shape=box style="rounded,filled" fillcolor="#eef2f7" color="#8a94a6" fontname="sans-serif" fontsize=11]
  edge [color="#5b6472" arrowsize=0.7]
"""


def house() -> str:
    """The graph of all parts but those that every other one may use."""
    rooms = {path.parent.name: path for path in sorted(PACKAGE.glob("*/__init__.py")) if path.parent.name != "utils"}
    nodes = [f"{name} [label=<<b>{name}</b><br/>{_text(path)}>]" for name, path in rooms.items()]
    edges = [f"{name} -> {other}" for name in rooms for other in sorted(uses(name) & rooms.keys())]
    return "\n".join(["digraph house {", STYLE, *nodes, *edges, "}"])


def uses(room: str) -> set[str]:
    """The other parts that the files of a part import."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / room).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [f"{node.module}.{alias.name}".split(".") for node in nodes for alias in node.names]
    return {name[1] for name in names if name[0] == PACKAGE.name} - {room}


def _text(path: Path) -> str:
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return "<br/>".join(map(escape, textwrap.wrap(words.replace("``", "").partition(". ")[0].rstrip("."), 26)))


def draw(graph: str, name: str) -> None:
    """Lays a graph out, with few arrows: those that follow from others are left out."""
    svg = subprocess.run(["dot", "-Tsvg"], input=graph, text=True, capture_output=True, check=True).stdout
    (ROOT / "docs" / "images" / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    reduced = subprocess.run(["tred"], input=house(), text=True, capture_output=True, check=True).stdout
    draw(reduced, "house.svg")
    draw((ROOT / "docs" / "explanation" / "flow.dot").read_text(encoding="utf-8"), "flow.svg")
