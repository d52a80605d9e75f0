"""What a data set holds, as tables, and whether training can work with it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import BadFiles, Survey, survey_of
from weakshot_seg.data.datamodule import WeakShotDataModule
from weakshot_seg.data.source import LabelledImages, Selection, by_tag, states_of
from weakshot_seg.errors import DataError, UserError
from weakshot_seg.structures import ClassSplit, Knowledge
from weakshot_seg.utils.tables import Table

SPLITS = (1, 2, 3, 4)


class Part(NamedTuple):
    """The training or the validation images, read once; their files may have problems."""

    title: str
    source: LabelledImages
    survey: Survey
    by_mask: NDArray[np.bool_]  # [n, K], the classes in each mask that it is said to annotate
    by_tag: NDArray[np.bool_]  # [n, K], the classes that each image has by its tags alone


class DatasetReport(NamedTuple):
    """The parts of a data set that could be read, a split of its classes if there is one, and all numbers.

    ``problems`` are the reasons why training cannot work, a line each.
    """

    parts: tuple[Part, ...]
    split: ClassSplit | None
    tables: tuple[Table, ...]
    problems: Sequence[str]
    remarks: Sequence[str] = ()
    drawn: bool = False  # the novel classes are drawn at random from a user's data

    @property
    def verdict(self) -> str:
        """In one line, whether training can work."""
        count = len(self.problems)
        return f"{count} problem{'s' if count > 1 else ''}: training cannot start" if count else "training can start"


def inspect(data: WeakShotDataModule) -> DatasetReport:
    """Reads all images and masks of a data set once; a ConfigError if the settings cannot be used."""
    problems: list[str] = []
    aside = data.set_aside
    train = _read("training", (lambda: aside.whole) if aside else data.make_train, problems)
    val = _read("validation", data.make_val, problems) if data.make_val and not aside else None
    parts = tuple(part for part in (train, val) if part is not None)
    tables = tuple(map(_files_table, parts))
    if train is None:
        return DatasetReport(parts, None, tables, problems)
    try:
        split = data.split_classes(train.source)
        known = data.weak_dataset(train.source, split).known
        chosen = aside.chosen if aside and not problems else None  # else not all can be read
    except UserError as error:
        return DatasetReport(parts, None, tables, [*problems, str(error)])
    if val is not None and tuple(val.source.class_names) != split.names:
        problems.append("training and validation images have different class names: give both the same list")
        val = None
    if not known.any():
        problems.append("no training image has a label: check the masks and the split")
    elif not train.by_mask[:, list(split.base)].any():
        problems.append("no training image has a mask of a base class: add masks, or name other novel classes")
    tables += (_split_table(data, train), _class_table(split, train, val, chosen))
    measured = val.source if val else Selection(train.source, np.flatnonzero(chosen)) if chosen is not None else None
    remarks = _remarks(data, split, known, train, measured)
    remarks = [str(aside), *remarks] if chosen is not None else remarks
    return DatasetReport(parts, split, tables, problems, remarks, data.draws_classes(train.source))


def _read(title: str, make: Callable[[], LabelledImages], problems: list[str]) -> Part | None:
    """Reads a part, as far as that is possible, and adds to the list of problems."""
    try:
        source = make()
        survey = survey_of(source)
        problems += [problem.message for problem in survey.problems]
    except BadFiles as error:
        problems += [problem.message for problem in error.problems]
        if error.source is None:
            return None
        source, survey = error.source, survey_of(error.source)
    except DataError as error:
        problems += [str(error)] if str(error) not in problems else []  # a bad list of names concerns both parts
        return None
    return Part(title, source, survey, survey.presence & (states_of(source) == Knowledge.MASK), by_tag(source))


def _files_table(part: Part) -> Table:
    sizes = part.survey.sizes[part.survey.sizes[:, 0] > 0]
    counts = {
        "all": len(part.source),
        "readable": len(sizes),
        "with a labelled pixel": part.by_mask.any(1).sum(),
        "with tags of classes not in the mask": part.by_tag.any(1).sum(),
        "without any label": (~(part.by_mask | part.by_tag).any(1)).sum(),
    }
    rows = [("", "images"), *((name, str(count)) for name, count in counts.items())]
    for axis, name in ((1, "width"), (0, "height")):
        if len(sizes):
            numbers = np.quantile(sizes[:, axis], (0, 0.5, 1)).astype(int)
            rows.append((f"{name} (lowest, median, highest)", ", ".join(map(str, numbers))))
    rows.append(("ids in the masks", _ranges(np.flatnonzero(part.survey.ids).tolist()) or "-"))
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
    head = ("split", "base", "novel", "images with novel labels", "novel classes", "in no training image")
    rows: list[tuple[str, ...]] = [head]
    for split, numbers in splits.items():
        images = labels[:, list(split.novel)].any(1).sum()
        counts = (str(count) for count in (len(split.base), len(split.novel), images))
        absent = [split.names[i] for i in split.novel if not labels[:, i].any()]
        rows.append((_ranges(numbers), *counts, _some(split.novel_names), _some(absent) or "-"))
    return Table("splits", tuple(rows), "<>>><<")


def _class_table(split: ClassSplit, train: Part, val: Part | None, chosen: NDArray[np.bool_] | None) -> Table:
    """Of each class the training images by what is known: the four columns add up to all of them.

    ``chosen`` (bool ``[n]``) are those set aside for validation.
    """
    head = ["id", "class", "kind", "images by mask", "by tag", "absent", "unknown", "pixels %"]
    head += ["validation images", "pixels %"] if val else ["set aside"] if chosen is not None else []
    states = states_of(train.source, split.is_novel().numpy())
    tagged, unknown = ((states == state).sum(0) for state in (Knowledge.PRESENT, Knowledge.UNKNOWN))
    shown = ((states == Knowledge.MASK) & train.by_mask).sum(0)
    columns = [shown, tagged, len(states) - shown - tagged - unknown, unknown, _shares(train)]
    if val or chosen is not None:
        columns += [val.by_mask.sum(0), _shares(val)] if val else [train.by_mask[chosen].sum(0)]
    rows = [tuple(head)]
    for index, name in enumerate(split.names):
        values = (f"{column[index]:.2f}" if column.dtype == float else str(column[index]) for column in columns)
        rows.append((str(index), name, "novel" if index in split.novel else "base", *values))
    return Table(f"classes ({len(split.base)} base, {len(split.novel)} novel)", tuple(rows), "><<" + ">" * len(columns))


def _remarks(
    data: WeakShotDataModule, split: ClassSplit, known: NDArray[np.bool_], train: Part, measured: LabelledImages | None
) -> list[str]:
    remarks = data.remarks(train.source, known, split, measured)
    if left_out := [train.source.name(i) for i in np.flatnonzero(~known.any(1)).tolist()]:
        remarks.append(f"{len(left_out)} training images have no label and are left out: {_some(left_out)}")
    return remarks


def _shares(part: Part) -> NDArray[np.float64]:
    """Percentage of the labelled pixels."""
    return 100 * part.survey.pixels / max(1, part.survey.pixels.sum())


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names) - most} more)" if len(names) > most else "")


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers, such as "0-4, 7"."""
    starts = [n for n in numbers if n - 1 not in set(numbers)]
    ends = [n for n in numbers if n + 1 not in set(numbers)]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
