"""Which classes are novel: by name, from a file, as published with the paper, or at random."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from unicodedata import normalize

from pydantic import StrictInt, TypeAdapter

from weakshot_seg.data.class_names import unknown_class
from weakshot_seg.errors import DataError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import reading

DEFAULT_RATIO = 0.25
"""Share of the novel classes in the paper: base to novel is 3:1."""


@dataclass
class _Novel:
    novel: list[StrictInt]


SPLIT_FILE = TypeAdapter(dict[str, list[StrictInt] | _Novel])
"""Ids of the novel classes by split: ``{"1": [ids], ...}`` or ``{"split1": {"novel": [ids]}, ...}``."""


def make_split(
    class_names: Sequence[str],
    split: int,
    *,
    novel_ratio: float = DEFAULT_RATIO,
    seed: int | None = None,
    novel_classes: Sequence[str] | None = None,
    split_file: str | Path | None = None,
    published: str | None = None,
    tag_only: Sequence[str] = (),
) -> ClassSplit:
    """Chooses the novel classes, by the first of these that is given.

    1. ``novel_classes``: exactly these names (``[]`` = none, fully supervised).
    2. ``split_file``: a JSON file, see :data:`SPLIT_FILE`.
    3. ``published``: the lists of the paper for this data set (see :func:`published_names`), unless ``seed`` or a
       ``novel_ratio`` other than the default asks for others.
    4. ``tag_only``: these names, those of the classes that have tags but no masks, if there are any.
    5. At random: ``round(K * novel_ratio)`` classes, at least 1 and at most K - 1, from ``random.Random(seed)``;
       without a seed the number of the split is the seed.

    Raises:
        DataError: an unknown class name, split or data set, an unreadable file, ids that do not fit the classes.
    """
    names = tuple(class_names)
    if novel_classes is not None:
        novel_classes = [normalize("NFC", name) for name in novel_classes]
        for name in novel_classes:
            if name not in names:
                raise DataError(f"unknown novel class '{name}': {unknown_class(name, names)}")
        novel, origin = [names.index(name) for name in novel_classes], "novel_classes"
    elif split_file is not None:
        remedy = 'write {"1": [novel class ids], "2": ...} or {"split1": {"novel": [ids]}, ...}, or set data.split_file'
        with reading(f"the split file {split_file}", remedy):
            content = SPLIT_FILE.validate_json(Path(split_file).read_bytes()).items()
            splits = {int(k.removeprefix("split")): v.novel if isinstance(v, _Novel) else v for k, v in content}
        novel, origin = _choose(splits, split, str(split_file)), str(split_file)
    elif published is not None and seed is None and novel_ratio == DEFAULT_RATIO:
        lists = _published(published)
        if len(lists["class_names"]) != len(names):
            raise DataError(
                f"the published splits of {published} are for {len(lists['class_names'])} classes, but the data has "
                f"{len(names)}: mend the class names, or set data.published=null for random splits"
            )
        splits = {int(number): ids for number, ids in lists["splits"].items()}
        novel, origin = _choose(splits, split, f"the published splits of {published}"), published
    elif tag_only:
        novel, origin = [names.index(name) for name in tag_only], "classes without masks"
    elif len(names) < 2:
        raise DataError(
            f"{len(names)} class cannot be split into base and novel: at least 2 are needed, or data.novel_classes=[]"
        )
    else:
        count = min(max(round(len(names) * novel_ratio), 1), len(names) - 1)
        novel, origin = random.Random(split if seed is None else seed).sample(range(len(names)), count), "random"
    try:
        return ClassSplit(names, tuple(novel))
    except ValueError as error:
        raise DataError(f"split ({origin}): {error}") from error


def published_names() -> tuple[str, ...]:
    """Data sets whose class names and splits come with the package."""
    files = (resources.files(__package__) / "published").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


def published_class_names(name: str) -> tuple[str, ...]:
    """Class names of a data set that comes with the package, by id (see :func:`published_names`)."""
    return tuple(_published(name)["class_names"])


def _published(name: str) -> dict[str, Any]:
    if name not in published_names():
        raise DataError(f"no published splits for '{name}': use one of {', '.join(published_names())}, or null")
    content: dict[str, Any] = json.loads((resources.files(__package__) / f"published/{name}.json").read_text("utf8"))
    return content


def _choose(splits: dict[int, list[int]], split: int, origin: str) -> list[int]:
    if split not in splits:
        raise DataError(f"no split {split} in {origin}: use one of {', '.join(map(str, sorted(splits)))}")
    return splits[split]
