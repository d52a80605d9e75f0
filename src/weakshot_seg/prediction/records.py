"""What lies where in a folder of results, and what is noted of each, as JSON; ``classes/NAME.json`` is written last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from weakshot_seg.prediction.segmentation import ClassArea
from weakshot_seg.utils.files import replacing

SUFFIXES = {"labels": ".png", "overlays": ".jpg", "scores": ".npz", "classes": ".json"}
"""Folders of results and the suffix of the files in them, in the order in which they are written."""
MANIFEST = "predictions.json"
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})


def is_result(path: Path) -> bool:
    """Whether a file lies in a folder of results, of this call or of another."""
    return any(folder.name in SUFFIXES and (folder.parent / MANIFEST).exists() for folder in path.parents)


@dataclass(frozen=True)
class Item:
    """An image or a video to predict, or a frame of a video."""

    path: Path  # absolute
    name: str  # of its results: a path without suffix, "/" between its parts; no other item of a call has it
    frame: int | None = None  # its number from 0; None: the whole file
    seconds: float | None = None  # after which the frame is shown

    @property
    def is_video(self) -> bool:
        """A whole video, by the suffix alone."""
        return self.frame is None and self.path.suffix.lower() in VIDEO_SUFFIXES

    def at(self, number: int, seconds: float | None = None) -> Item:
        """A frame of this video."""
        return Item(self.path, f"{self.name}/{number:06d}", number, seconds)


@dataclass(frozen=True)
class Origin:
    """What predicted the results of a folder, by the SHA-256 of its ``weights``; equal if it predicts the same."""

    checkpoint: str = field(compare=False)
    weights: str
    inference: dict[str, Any]
    resize: dict[str, Any]


@dataclass(frozen=True)
class Record:
    """What ``classes/NAME.json`` holds of an image, a video or, until its video is finished, a frame."""

    image: str
    height: int
    width: int
    scores: list[str] = field(default_factory=list)  # names of the classes whose scores were written
    classes: list[ClassArea] = field(default_factory=list)  # the largest first; of a video they are in its frames
    frame: int | None = None
    seconds: float | None = None
    every: int | None = None  # of how many frames of a video one was predicted; None: no video
    frames: list[Record] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """What a file holds; None: it is missing, or not one of these."""
        try:
            return cls._parsed(**json.loads(path.read_text(encoding="ascii")))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def _parsed(cls, classes: Sequence[Any] = (), frames: Sequence[Any] = (), **others: Any) -> Record:
        parts = [cls._parsed(**frame) for frame in frames]
        return cls(classes=[ClassArea(**area) for area in classes], frames=parts, **others)

    def write(self, path: Path) -> None:
        """Writes a file; fractions have six digits, what is empty is left out."""

        def compact(fields: list[tuple[str, Any]]) -> dict[str, Any]:
            kept = ((name, value) for name, value in fields if value is not None and value != [])
            return {name: round(value, 6) if isinstance(value, float) else value for name, value in kept}

        write_json(path, asdict(self, dict_factory=compact))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a file, whole or not at all; ASCII, because paths may be no valid text."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
