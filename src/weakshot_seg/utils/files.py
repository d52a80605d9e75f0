"""Files that are either complete or not there, and files that something has spoilt."""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from weakshot_seg.errors import DataError, UserError

LONG = 200
"""Bytes of a file name that leave room for more: file systems take 255."""
LEFTOVER = re.compile(r"\..+\.(\d+)\.tmp")  # a temporary file, with the number of its process


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``, which replaces it when the block ends well, else vanishes.

    An interrupted write thus leaves the former file as it was. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name if len(os.fsencode(path.name)) < LONG else f"{zlib.crc32(os.fsencode(path.name)):08x}"
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # a read-only file system has said so already
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what dead processes left of :func:`replacing` in and below ``folder``, but for runs further below."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, ".lock").exists()]
        for name in files:
            left = LEFTOVER.fullmatch(name)
            if left and (int(left[1]) == os.getpid() or not lives(int(left[1]))):
                Path(place, name).unlink(missing_ok=True)


@contextmanager
def noting_damage(file: Path, remarks: list[str]) -> Iterator[None]:
    """Adds to ``remarks`` that ``file`` cannot be read, and why, if the block that reads it fails."""
    try:
        yield
    except Exception as error:  # JSON, YAML and CSV of any content raise nearly every kind
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remarks.append(f"{file.name} cannot be read ({reason[:200]})")  # some errors quote the file


@contextmanager
def reading(what: object, remedy: str) -> Iterator[None]:
    """Makes whatever fails in the block, but for a ``UserError``, a ``DataError`` of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # broken bytes lead to anything: TypeError, zlib.error, MemoryError, ...
        text = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        text = text.partition("\n")[0].partition(" <")[0]  # without the addresses of objects
        name = type(error).__name__
        reason = (error.strerror or text or name) if isinstance(error, OSError) else f"{name}: {text}"
        raise DataError(f"cannot read {what} ({printable(reason)}): {remedy}") from error


def printable(text: str) -> str:
    """The same with escapes for what moves the cursor or is not shown: files may hold, and be named, anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def check_zip(path: Path) -> None:
    """Compares the checksums in a file of ``torch.save``, which ``torch.load`` leaves out; an OSError if one is wrong.

    Files of other kinds have none.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if part := archive.testzip():
                raise OSError(f"the checksum of {part} in it is wrong")


def lives(process: int) -> bool:
    """Whether a process of this machine runs; True where that cannot be asked."""
    try:
        if os.name == "posix":  # elsewhere signal 0 would end it
            os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
