"""What the CSV logger wrote in training."""

import csv
from pathlib import Path


def training_rows(folder: Path, session: int = 0) -> list[dict[str, str]]:
    """The logged steps of a session, without empty cells, as text: to the last digit."""
    with (folder / "csv" / f"version_{session}" / "metrics.csv").open() as file:
        rows = [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return [row for row in rows if "train/loss" in row]
