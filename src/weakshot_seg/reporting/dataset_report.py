"""What a data set holds, as tables, and whether training can work with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import BadFiles, Survey, survey_of
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.source import LabelledImages, by_tag
from weakshot_seg.errors import DataError, UserError
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.tables import Table

SPLITS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Part:
    """The training or the validation images, read once; their files may have problems."""

    title: str
    source: LabelledImages
    survey: Survey

    @property
    def by_mask(self) -> NDArray[np.bool_]:
        """Bool ``[n, K]``, the classes in each mask."""
        return self.survey.presence

    @property
    def by_tag(self) -> NDArray[np.bool_]:
        """Bool ``[n, K]``, the classes that each image has by its tags alone."""
        return by_tag(self.source)


@dataclass(frozen=True)
class DatasetReport:
    """The parts of a data set that could be read, a split of its classes if there is one, and all numbers.

    ``problems`` are the reasons why training cannot work, a line each.
    """

    parts: tuple[Part, ...]
    split: ClassSplit | None
    tables: tuple[Table, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """In one line, whether training can work."""
        count = len(self.problems)
        return f"{count} problem{'s' if count > 1 else ''}: training cannot start" if count else "training can start"


def inspect(data: WeakShotDataModule) -> DatasetReport:
    """Reads all images and masks of a data set once.

    Raises:
        ConfigError: the settings cannot be used.
    """
    problems: list[str] = []
    train = _read("training", data.make_train, problems)
    val = _read("validation", data.make_val, problems) if data.make_val else None
    parts = tuple(part for part in (train, val) if part is not None)
    tables = tuple(map(_files_table, parts))
    if train is None:
        return DatasetReport(parts, None, tables, tuple(problems))
    try:
        split = data.split_classes(train.source)
        known = data.weak_dataset(train.source, split).known
    except UserError as error:
        return DatasetReport(parts, None, tables, (*problems, str(error)))
    if val is not None and tuple(val.source.class_names) != split.names:
        problems.append("training and validation images have different class names: give both the same list")
        val = None
    if not known.any():
        problems.append("no training image has a label: check the masks and the split")
    elif not train.by_mask[:, list(split.base)].any():
        problems.append("no training image has a mask of a base class: add masks, or name other novel classes")
    tables += (_split_table(data, train), _class_table(split, train, val))
    return DatasetReport(parts, split, tables, tuple(problems), tuple(_remarks(split, known, train, val)))


def _read(title: str, make: Callable[[], LabelledImages], problems: list[str]) -> Part | None:
    """Reads a part, as far as that is possible, and adds to the list of problems."""
    try:
        source = make()
        survey = survey_of(source)
        problems += [problem.message for problem in survey.problems]
    except BadFiles as error:
        problems += [problem.message for problem in error.problems]
        return Part(title, error.source, survey_of(error.source)) if error.source is not None else None
    except DataError as error:
        if str(error) not in problems:  # a bad list of class names concerns both parts
            problems.append(str(error))
        return None
    return Part(title, source, survey)


def _files_table(part: Part) -> Table:
    survey = part.survey
    sizes = survey.sizes[survey.sizes[:, 0] > 0]
    rows = [
        ("", "images"),
        ("all", str(len(part.source))),
        ("readable", str(len(sizes))),
        ("with a labelled pixel", str(int(part.by_mask.any(1).sum()))),
        ("with tags of classes not in the mask", str(int(part.by_tag.any(1).sum()))),
        ("without any label", str(int((~(part.by_mask | part.by_tag).any(1)).sum()))),
    ]
    for axis, name in ((1, "width"), (0, "height")):
        if len(sizes):
            low, middle, high = np.quantile(sizes[:, axis], (0, 0.5, 1)).astype(int)
            rows.append((f"{name} (lowest, median, highest)", f"{low}, {middle}, {high}"))
    rows.append(("ids in the masks", _ranges(np.flatnonzero(survey.ids).tolist()) or "-"))
    return Table(f"{part.title} images", tuple(rows), "<>")


def _split_table(data: WeakShotDataModule, train: Part) -> Table:
    """Every split that is defined; one row if the novel classes have been named."""
    labels = train.by_mask | train.by_tag
    splits: dict[ClassSplit, list[int]] = {}
    for number in sorted({*SPLITS, data.split}):
        try:
            splits.setdefault(data.split_classes(train.source, number), []).append(number)
        except DataError:
            continue
    rows = [("split", "base", "novel", "images with novel labels", "novel classes", "in no training image")]
    for split, numbers in splits.items():
        images = int(labels[:, list(split.novel)].any(1).sum())
        counts = (str(len(split.base)), str(len(split.novel)), str(images))
        absent = [split.names[i] for i in split.novel if not labels[:, i].any()]
        rows.append((_ranges(numbers), *counts, _some(split.novel_names), _some(absent) or "-"))
    return Table("splits", tuple(rows), "<>>><<")


def _class_table(split: ClassSplit, train: Part, val: Part | None) -> Table:
    head: tuple[str, ...] = ("id", "class", "kind", "images by mask", "by tag", "pixels %")
    columns = [train.by_mask.sum(0), train.by_tag.sum(0), _shares(train.survey)]
    if val is not None:
        head += ("validation images", "pixels %")
        columns += [val.by_mask.sum(0), _shares(val.survey)]
    rows = [head]
    for index, name in enumerate(split.names):
        kind = "novel" if index in split.novel else "base"
        values = (f"{column[index]:.2f}" if column.dtype == float else str(column[index]) for column in columns)
        rows.append((str(index), name, kind, *values))
    return Table(f"classes ({len(split.base)} base, {len(split.novel)} novel)", tuple(rows), "><<" + ">" * len(columns))


def _remarks(split: ClassSplit, known: NDArray[np.bool_], train: Part, val: Part | None) -> list[str]:
    novel = list(split.novel)
    left_out = np.flatnonzero(~known.any(1))
    no_label = [split.names[i] for i in novel if not known[:, i].any()]
    no_mask = [split.names[i] for i in split.base if not train.by_mask[:, i].any()]
    remarks = []
    if len(left_out):
        names = _some([train.source.name(int(i)) for i in left_out])
        remarks.append(f"{len(left_out)} training images have no label and are left out: {names}")
    if no_label:
        remarks.append(f"novel classes that no training image carries: {_some(no_label)}")
    if no_mask:
        remarks.append(f"base classes without a mask in the training images: {_some(no_mask)}")
    if novel and (val is None or not val.by_mask[:, novel].any()):
        remarks.append("no validation image has a mask of a novel class: novel IoU cannot be measured")
    return remarks


def _shares(survey: Survey) -> NDArray[np.float64]:
    """Percentage of the labelled pixels."""
    return 100 * survey.pixels / max(1, survey.pixels.sum())


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names) - most} more)" if len(names) > most else "")


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, such as "0-4, 7"."""
    starts = [n for n in numbers if n - 1 not in set(numbers)]
    ends = [n for n in numbers if n + 1 not in set(numbers)]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
