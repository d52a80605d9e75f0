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

        def mean(*kinds: bool) -> float | None:
            known = [v for name, v in iou.items() if v is not None and (name in novel) in kinds]
            return sum(known) / len(known) if known else None

        content = {
            "name": "toy",
            "split": 1,
            "stage": "first",
            "seed": 0,
            "supervision": "weakshot",
            "step": 100,
            "seconds": 3.5,
            "base_iou": mean(False),
            "novel_iou": mean(True),
            "miou": mean(False, True),
            "classes": [
                {"id": i, "name": name, "novel": name in novel, "iou": v} for i, (name, v) in enumerate(iou.items())
            ],
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
