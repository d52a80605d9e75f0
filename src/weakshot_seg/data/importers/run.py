"""A whole import: sources in, a folder for ``data=folder`` out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weakshot_seg.data.checks import BadFiles, Problem
from weakshot_seg.data.class_names import unknown_class
from weakshot_seg.data.importers.formats import read_source
from weakshot_seg.data.importers.merge import Merged, Unnamed, merge
from weakshot_seg.data.importers.records import Export
from weakshot_seg.data.importers.source import Source
from weakshot_seg.data.importers.write import Written, new_folder, write
from weakshot_seg.errors import ConfigError, DataError


@dataclass(frozen=True)
class Imported:
    """What was read, what it is together, what was written, and photos that no source speaks of."""

    exports: Sequence[Export]
    merged: Merged
    written: Written
    unlisted: Sequence[Path] = ()


def import_sources(
    sources: Sequence[Source],
    out: Path,
    form: str = "auto",
    unnamed: Unnamed = "absent",
    copy: bool = False,
    only: Sequence[str] | None = None,
) -> Imported:
    """Makes the folder ``out`` of all sources, whole or not at all; see ``conf/import.yaml`` for the settings.

    Raises:
        BadFiles: all that is wrong with the sources.
        ConfigError: ``out`` exists, or is made by another process, or a source or class of ``only`` is not there.
    """
    with new_folder(out) as folder:
        exports, problems = [], list[Problem]()
        there = [one for number, one in enumerate(sources) if _unpack(one, folder.parent / str(number), problems)]
        for source in there:
            source.others = [other.folder for other in sources]
            try:
                exports.append(read_source(source, form))
            except DataError as error:
                problems.append(Problem(source.path, str(error)))
        if only is not None:
            _choose(exports, only)
        merged = merge(exports, unnamed)
        written, wrong = write(merged, folder, copy)
        problems += [*merged.problems, *wrong]
        if not (merged.photos or problems):
            problems = [Problem(source.path, f"{source.path} names no photo: nothing to import") for source in sources]
        if problems:
            raise BadFiles([_in_archive(problem, sources) for problem in problems])
        unlisted = _unlisted(there, exports)
    return Imported(exports, merged, written, unlisted)


def _choose(exports: Sequence[Export], only: Sequence[str]) -> None:
    """Leaves out all classes but those of ``only``."""
    known = list(dict.fromkeys(name for export in exports for name in export.classes))
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(f"only={unknown[0]}: no source has this class: {unknown_class(unknown[0], known)}")
    for export in exports:
        export.keep(only)


def _unpack(source: Source, folder: Path, problems: list[Problem]) -> bool:
    """Whether the source is no archive or could be unpacked to ``folder``."""
    try:
        source.unpack(folder)
    except DataError as error:
        problems.append(Problem(source.path, str(error)))
        return False
    return True


def _unlisted(sources: Sequence[Source], exports: Sequence[Export]) -> list[Path]:
    """Photos in the folders of the sources that none of them speaks of."""
    records = [record for export in exports for record in export.records]
    listed = {record.photo.resolve() for record in records}
    listed |= {mask.file.resolve() for record in records for mask in record.masks}
    own = dict.fromkeys(file for source in sources for file in source.own_photos())
    return [file for file in own if file.resolve() not in listed]


def _in_archive(problem: Problem, sources: Sequence[Source]) -> Problem:
    """The same, with the path of the archive in place of that of its content."""
    message = problem.message
    for source in sources:
        message = message.replace(str(source.path), str(source.given))
    return replace(problem, message=message)
