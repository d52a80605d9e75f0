"""Small photos."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from importing import HEIGHT, WIDTH


@pytest.fixture
def photo() -> Callable[..., Path]:
    """Writes a photo of its own content and returns its path."""
    numbers = iter(range(1000))

    def write(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(next(numbers)).integers(0, 255, (size[1], size[0], 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        return path

    return write
