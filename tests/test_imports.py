"""The walls between the parts of the package (read from the source, nothing is imported).

Imports point one way, see :data:`ALLOWED`, and every large library is known to one place.
"""

import ast
import html
import re
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "weakshot_seg"
FILES = sorted(PACKAGE.rglob("*.py"))

# What the modules of a part may import of this package besides the part itself.
GROUND = {"errors", "structures", "utils"}
CORE = GROUND | {"models", "losses", "inference", "data"}
ALLOWED = {
    "__init__": {"prediction", "interface"},
    "__main__": {"__init__", "cli"},
    "errors": set(),
    "structures": {"utils"},
    "utils": {"errors", "structures"},
    "config": {"errors", "utils"},
    "models": GROUND,
    "losses": GROUND,
    "inference": GROUND,
    "data": GROUND,
    "training": CORE,
    "checkpoints": CORE | {"config", "training"},
    "conversion": GROUND,
    "exporting": GROUND | {"inference", "training"},
    "prediction": CORE | {"config", "training", "checkpoints", "reporting", "__version__"},
    "reporting": CORE | {"checkpoints", "training"},
    "demo": CORE | {"prediction"},
    "cli": None,  # anything
    "interface": None,  # anything
    "train": {"cli", "interface"},
}
# Libraries and the only places that may import them, as folders or files of the package.
KNOWN_TO = {
    "timm": {"models/backbone.py"},
    "albumentations": {"data/transforms.py"},
    "cv2": {"data/transforms.py"},
    "scipy": {"losses/assignments.py", "data/readers/coco_stuff.py"},
    "huggingface_hub": {"checkpoints/hub.py", "prediction/segmenter.py"},
    "gradio": {"demo/page.py"},
    "av": {"prediction/video_files.py"},
    "pillow_heif": {"data/images.py"},
    "colorcet": {"utils/visualize.py"},
    "h5py": {"data/readers/coco_stuff.py"},
    "onnx": {"exporting/formats.py"},
    "onnxruntime": {"exporting/formats.py"},
    "yaml": {"reporting/runs.py", "data/importers/yolo.py"},
    "pycocotools": {"data/importers/drawing.py"},
    "filelock": {"data/readers/official.py", "data/importers/write.py", "utils/run_status.py"},
    "hydra": {"cli", "config", "checkpoints", "training/trainer.py", "prediction", "interface"},
    "omegaconf": {"cli", "config", "interface", "checkpoints/trusted_targets.py", "training/trainer.py"},
    "wandb": {"training/callbacks/weights_and_biases.py"},
    "lightning": set(),  # its classes are not those of pytorch_lightning
    "matplotlib": {"reporting/figures.py"},
    "jinja2": {"reporting/pages.py", "demo/view.py"},
    "rich": {"utils/tables.py"},
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> frozenset[str]:
    """Full dotted names of everything a file imports, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = ("weakshot_seg", *path.relative_to(PACKAGE).parts[:-1])
            prefix = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (prefix, node.module)))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    parts = {name.split(".")[1] for name in imports(path) if name.startswith("weakshot_seg.")} - {part}
    allowed = ALLOWED[part]
    if allowed is None:
        return
    assert parts <= allowed | {"__version__"}, f"{part} may not import {', '.join(sorted(parts - allowed))}"


@pytest.mark.parametrize("library", KNOWN_TO)
def test_a_library_is_known_to_one_place(library: str) -> None:
    users = {path for path in FILES if any(name.split(".")[0] == library for name in imports(path))}
    for path in users:
        place = path.relative_to(PACKAGE).as_posix()
        assert {place, part_of(path)} & KNOWN_TO[library], f"{place} imports {library}"


def test_the_walls_stand_around_something() -> None:
    assert {part_of(path) for path in FILES} == set(ALLOWED)
    assert "weakshot_seg.structures.ClassSplit" in imports(PACKAGE / "training" / "metrics.py")
    assert "timm" in {name.split(".")[0] for name in imports(PACKAGE / "models" / "backbone.py")}


def reachable(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """All pairs that a path of edges joins."""
    while new := {(a, d) for a, b in edges for c, d in edges if b == c} - edges:
        edges = edges | new
    return edges


def test_the_picture_of_the_house_is_current() -> None:
    svg = (PACKAGE.parents[1] / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    titles = [html.unescape(title) for title in re.findall("<title>(.*)</title>", svg)]
    rooms = {part_of(path) for path in FILES if path.parent != PACKAGE} - {"utils"}
    drawn = {(a, b) for a, arrow, b in (title.partition("->") for title in titles) if arrow}
    names = {(part_of(path), name.split(".")[1]) for path in FILES for name in imports(path) if "weakshot_seg." in name}
    assert rooms <= set(titles), "python scripts/draw_graphs.py"
    true = {(a, b) for a, b in names if a != b and {a, b} <= rooms}
    assert reachable(drawn) == reachable(true), "python scripts/draw_graphs.py"
