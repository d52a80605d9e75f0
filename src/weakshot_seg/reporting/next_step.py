"""What to do with a data set that has been checked: the command to train, and what it will do."""

import shlex
from collections.abc import Sequence

from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import first_few

OF_CHECK = ("html=", "thumbnails=", "data.verify=", "-")


def training_words(words: Sequence[str], novel: Sequence[str] = ()) -> list[str]:
    """Those of ``weakshot check`` for a training; photos in folders get the recipe for them, ``novel`` are named."""
    kept = [word for word in words if not word.startswith(OF_CHECK)]
    if not any(word.startswith("experiment=") for word in kept):
        kept = ["experiment=folder" if word == "data=folder" else word for word in kept]
    return kept + ([f"data.novel_classes=[{','.join(novel)}]"] if novel else [])


def next_step(words: Sequence[str], split: ClassSplit, steps: int, preset: str | None) -> list[str]:
    """Lines to print: the command (``words`` after ``weakshot train``), its novel classes and steps."""
    novel = first_few(list(split.novel_names), 12) if split.novel else "none: all classes are learnt from masks"
    recipe = f" with preset={preset}" if preset else ""
    return [
        f"next: {shlex.join(['weakshot', 'train', *words])}",
        f"  novel classes: {novel}",
        f"  {steps:,} steps{recipe}; after 20 of them the training says how long it takes",
    ]
