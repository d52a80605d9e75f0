"""The notebook runs from top to bottom in a kernel of its own and shows pictures; two steps are enough for that."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def test_the_notebook_runs_and_shows_pictures(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    for long, short in (("STEPS = 150", "STEPS = 2"), ('"training": 120', '"training": 16')):
        (cell,) = (cell for cell in notebook.cells if long in cell.source)
        cell.source = cell.source.replace(long, short)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in data for data in shown) == 2  # run.show, the result
    page = next(data["text/html"] for data in shown if "<iframe" in data.get("text/html", ""))
    assert "training can start" in page
    assert Image.open(tmp_path / "outputs" / "quickstart" / "split1" / "pictures" / "00_000.png").size[0] > 64
    assert "(64, 64)" in shown[-1]["text/plain"]
