"""What is noted of every result, as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weakshot_seg.prediction.segmentation import ClassArea
from weakshot_seg.utils.files import replacing


@dataclass(frozen=True)
class Origin:
    """What predicted the results of a folder.

    Attributes:
        checkpoint: As it was named.
        weights: SHA-256 of its network.
        inference: Settings of the inference.
        resize: Settings of the resizing before the network.
    """

    checkpoint: str
    weights: str
    inference: dict[str, Any]
    resize: dict[str, Any]

    @property
    def mark(self) -> str:
        """Equal for what predicts the same."""
        content = json.dumps([self.weights, self.inference, self.resize], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """The classes of an image or a frame.

    Attributes:
        image: Path of the image or video.
        frame: Number of the frame in the video, from 0; None for an image.
        seconds: Time of the frame; None for an image.
        height: In pixels.
        width: In pixels.
        model: :attr:`Origin.mark`.
        scores: Names of the classes whose scores were written.
        classes: Those in the label map, the largest first.
    """

    image: str
    frame: int | None
    seconds: float | None
    height: int
    width: int
    model: str
    scores: list[str]
    classes: list[ClassArea]

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """What a file holds; None: it is missing, or not one of these."""
        try:
            content = json.loads(path.read_text(encoding="ascii"))
            return cls(**(content | {"classes": [ClassArea(**area) for area in content["classes"]]}))
        except (OSError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class VideoRecord:
    """The classes in the frames of a video.

    Attributes:
        video: Path.
        every: Every how many frames one was predicted.
        frames: Those frames.
    """

    video: str
    every: int
    frames: list[Record]

    @classmethod
    def read(cls, path: Path) -> VideoRecord | None:
        """What a file holds, without the classes of the frames; None: it is missing, or not one of these."""
        try:
            content = json.loads(path.read_text(encoding="ascii"))
            frames = [Record(**(frame | {"classes": []})) for frame in content["frames"]]
            return cls(**(content | {"frames": frames}))
        except (OSError, ValueError, TypeError, KeyError):
            return None


def write_json(path: Path, content: Record | VideoRecord | dict[str, Any]) -> None:
    """Writes a file, whole or not at all. Fractions have six digits; ASCII, because paths may be no valid text."""
    plain = content if isinstance(content, dict) else asdict(content)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_rounded(plain), indent=1) + "\n", encoding="ascii")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
