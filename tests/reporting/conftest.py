"""Folders of runs, written by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """Writes ``metrics.json``, by hand, of a finished run on classes with the given IoUs; returns the folder."""

    def write(
        place: str,
        iou: dict[str, float | None],
        novel: tuple[str, ...],
        overrides: tuple[str, ...] | None = None,
        max_steps: int = 100,
        without: tuple[str, ...] = (),
        **facts: Any,
    ) -> Path:
        folder = tmp_path / place
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            **{"name": "toy", "split": 1, "stage": "first", "seed": 0, "supervision": "weakshot"},
            **{"step": 100, "seconds": 3.5, "base_iou": 1.0, "novel_iou": 2.0},  # from the classes is what counts
            "miou": sum(known) / len(known) if (known := [v for v in iou.values() if v is not None]) else None,
            "classes": [{"name": name, "novel": name in novel, "iou": v} for name, v in iou.items()],
        }
        (folder / "metrics.json").write_text(json.dumps({**content, **facts}))
        if overrides is not None:
            (folder / ".hydra").mkdir()
            (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {text}\n" for text in overrides) or "[]")
            (folder / ".hydra" / "config.yaml").write_text(
                f"name: ${{x}}\ntrainer:\n  max_steps: {max_steps}\nloss:\n  without: {list(without)}\n"
            )
        return folder

    return write
