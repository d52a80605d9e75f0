"""The notebooks run from top to bottom in kernels of their own and show pictures; two steps are enough for that."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run(name: str, folder: Path, *shorter: tuple[str, str]) -> list[dict[str, Any]]:
    """What a notebook shows, with other text in its cells to make it quick."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    for long, short in shorter:
        (cell,) = (cell for cell in notebook.cells if long in cell.source)
        cell.source = cell.source.replace(long, short)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]


def test_quickstart(tmp_path: Path) -> None:
    shown = run("quickstart.ipynb", tmp_path, ("STEPS = 150", "STEPS = 2"), ('"training": 120', '"training": 16'))
    assert sum("image/png" in data for data in shown) == 2  # run.show, the result
    page = next(data["text/html"] for data in shown if "<iframe" in data.get("text/html", ""))
    assert "training can start" in page
    assert Image.open(tmp_path / "outputs" / "quickstart" / "split1" / "pictures" / "00_000.png").size[0] > 64
    assert "(64, 64)" in shown[-1]["text/plain"]


def test_look_inside(tmp_path: Path) -> None:
    shown = run("look_inside.ipynb", tmp_path, ("STEPS = 300", "STEPS = 2"), ('"num_images": 400', '"num_images": 16'))
    assert sum("image/png" in data for data in shown) == 5  # proposals, the result, similarity, complement, presence
