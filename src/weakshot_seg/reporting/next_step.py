"""What to do with a data set that has been checked: the command to train, and what it will do."""

import shlex
from collections.abc import Sequence

from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import first_few

OF_CHECK = ("html=", "thumbnails=", "data.verify=", "-")
SECONDS = {"laptop": 0.4}
"""Of a step of a preset, where it has been measured: on two CPU cores."""


def training_words(words: Sequence[str], novel: Sequence[str] = ()) -> list[str]:
    """Those of ``weakshot check`` for a training; photos in folders get the recipe for them, ``novel`` are named."""
    kept = [word for word in words if not word.startswith(OF_CHECK)]
    if not any(word.startswith("experiment=") for word in kept):
        kept = ["experiment=folder" if word == "data=folder" else word for word in kept]
    return kept + ([f"data.novel_classes=[{','.join(novel)}]"] if novel else [])


def next_step(words: Sequence[str], split: ClassSplit, steps: int, preset: str | None) -> list[str]:
    """Lines to print: the command (``words`` after ``weakshot train``), its novel classes, and how long it takes."""
    novel = first_few(list(split.novel_names), 12) if split.novel else "none: all classes are learnt from masks"
    seconds = SECONDS.get(preset or "")
    time = "it says how long it takes after 20 steps"
    if seconds:
        time = f"about {max(1, round(steps * seconds / 60))} minutes on two CPU cores; {time}"
    recipe = f" with preset={preset}" if preset else ""
    return [
        f"next: {shlex.join(['weakshot', 'train', *words])}",
        f"  novel classes: {novel}",
        f"  {steps:,} steps{recipe}: {time}",
    ]
