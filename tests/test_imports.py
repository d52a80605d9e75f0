"""The walls between the parts of the package (read from the source, nothing is imported).

Entry points -> lightning_module, data, callbacks -> losses, models, inference, metrics -> structures; and every large
library is known to one place.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "weakshot_seg"
FILES = sorted(PACKAGE.rglob("*.py"))

# What the modules of a part may import of this package besides the part itself. Those without a line are entry points.
GROUND = {"errors", "structures", "outputs", "utils"}
ALLOWED = {
    "__init__": {"segmenter"},
    "errors": set(),
    "structures": set(),
    "utils": {"errors", "structures"},
    "outputs": {"structures", "utils"},
    "config": {"errors", "utils", "config_check"},
    "config_check": {"errors", "config_ranges"},
    "config_ranges": set(),
    "config_door": {"errors"},
    "optim": GROUND,
    "metrics": GROUND,
    "models": GROUND,
    "losses": GROUND,
    "conversion": GROUND,
    "inference": GROUND,
    "data": GROUND,
    "hub": GROUND,
    "results": GROUND | {"data"},
    "exporting": GROUND | {"inference", "lightning_module"},
    "segmentation": GROUND | {"inference"},
    "demo": GROUND | {"data", "segmentation", "segmenter"},
    "prediction": GROUND | {"data", "segmentation", "segmenter"},
    "lightning_module": GROUND | {"losses", "models", "inference", "metrics", "optim"},
    "callbacks": GROUND | {"metrics", "lightning_module"},
}
# Libraries and the only places that may import them, as folders or files of the package ("entry" = entry points).
KNOWN_TO = {
    "timm": {"models/backbone.py"},
    "albumentations": {"data/transforms.py"},
    "cv2": {"data/transforms.py"},
    "scipy": {"losses/matcher.py", "data/matlab.py"},
    "huggingface_hub": {"hub/card.py", "hub/download.py"},
    "gradio": {"demo/page.py"},
    "av": {"prediction/video_files.py"},
    "h5py": {"data/matlab.py"},
    "onnx": {"exporting/formats.py"},
    "onnxruntime": {"exporting/formats.py"},
    "yaml": {"results/runs.py", "utils/damage.py"},
    "filelock": {"data/label_cache.py", "utils/run_lock.py"},
    "hydra": {"entry", "config.py", "config_check.py", "config_door.py"},
    "omegaconf": {"entry", "config.py", "config_check.py", "config_door.py"},
    "wandb": {"callbacks/wandb_dashboard.py", "callbacks/wandb_logger.py"},
    "lightning": set(),  # its classes are not those of pytorch_lightning
    "matplotlib": set(),
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
    allowed = ALLOWED.get(part)
    if allowed is None:  # an entry point: anything
        return
    assert parts <= allowed | {"__version__"}, f"{part} may not import {', '.join(sorted(parts - allowed))}"


@pytest.mark.parametrize("library", KNOWN_TO)
def test_a_library_is_known_to_one_place(library: str) -> None:
    users = {path for path in FILES if any(name.split(".")[0] == library for name in imports(path))}
    for path in users:
        place = path.relative_to(PACKAGE).as_posix()
        kind = place if part_of(path) in ALLOWED else "entry"
        assert kind in KNOWN_TO[library], f"{place} imports {library}"


def test_the_walls_stand_around_something() -> None:
    assert {part_of(path) for path in FILES} >= set(ALLOWED)
    assert "weakshot_seg.structures.ClassSplit" in imports(PACKAGE / "metrics.py")
    assert "timm" in {name.split(".")[0] for name in imports(PACKAGE / "models" / "backbone.py")}
