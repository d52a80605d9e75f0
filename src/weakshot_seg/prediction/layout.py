"""A folder of results: what lies where.

``labels/NAME.png`` (class ids, with palette), ``overlays/NAME.jpg``, ``scores/NAME.npz`` and, written last,
``classes/NAME.json``: what has it is finished. ``predictions.json`` says what the ids mean and what predicted them.
"""

from __future__ import annotations

from pathlib import Path

KINDS = {"labels": ".png", "overlays": ".jpg", "scores": ".npz", "classes": ".json"}
"""Folders of results and the suffix of the files in them."""
ABOUT = "predictions.json"


def is_result(path: Path) -> bool:
    """Whether a file lies in a folder of results, of this call or of another."""
    return any(folder.name in KINDS and (folder.parent / ABOUT).exists() for folder in path.parents)


def frame_name(video: str, number: int) -> str:
    """Name of the results of a frame, from that of its video."""
    return f"{video}/{number:06d}"
