"""Fetching archives so that an interruption costs nothing, and unpacking them so that nothing lands elsewhere."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from functools import partial
from http import HTTPStatus
from pathlib import Path

from tqdm import tqdm

from weakshot_seg.errors import DataError

log = logging.getLogger(__name__)

TIMEOUT = 60
"""Seconds without an answer after which a connection counts as lost."""


def download(url: str, path: Path, checksum: str | None = None, retries: int = 5, pause: float = 2.0) -> None:
    """Fetches ``url`` to ``path``, which appears when it is whole and right.

    What has arrived is kept in ``path`` + ".part": a lost connection is taken up again where it broke, and so is the
    next call.

    ``checksum`` is "md5:..." or "sha1:..."; ``pause`` are the seconds before the first of some retries, doubled before
    each further one.

    Raises:
        DataError: the server refuses, the connection stays lost, or the content is not the expected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(retries + 1):
        try:
            _fetch(url, part)
            break
        except (OSError, http.client.HTTPException) as error:
            refused = isinstance(error, urllib.error.HTTPError)
            if refused or attempt == retries:
                more = "" if refused else "run the same command again to go on, or "
                reason = f"cannot fetch {url} ({error or type(error).__name__})"
                raise DataError(f"{reason}: {more}fetch it by hand, then use --archive") from error
            seconds = pause * 2**attempt
            log.warning("connection lost (%s), trying again in %g s", error or type(error).__name__, seconds)
            time.sleep(seconds)
    try:
        verify_checksum(part, checksum)
    except DataError:
        part.unlink()
        raise
    os.replace(part, path)


def _fetch(url: str, part: Path) -> None:
    """Fetches what ``part`` lacks."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers["Content-Range"] == f"bytes */{start}":  # nothing is lacking
            return
        part.unlink()
        raise ConnectionError("the file has become shorter") from error
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:  # the server cannot resume
            start = 0
        length = response.headers["Content-Length"]
        total = start + int(length) if length else None
        bar = tqdm.wrapattr(response, "read", total, desc=part.stem, initial=start, disable=None)
        with part.open("ab" if start else "wb") as file, bar as content:
            shutil.copyfileobj(content, file, 2**20)
    size = part.stat().st_size
    if total is not None and size != total:
        raise ConnectionError(f"{size:,} of {total:,} bytes arrived")


def verify_checksum(path: Path, checksum: str | None) -> None:
    """Compares a file with "md5:..." or "sha1:..." (None: not at all); a ``DataError`` if it differs."""
    if checksum is None:
        return
    algorithm, expected = checksum.split(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} has the {algorithm} {found}, but {expected} was expected: remove it and fetch it again"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar file into ``folder``.

    Raises:
        DataError: the file is missing, no archive or damaged, it would write outside of ``folder``, or ``folder``
            cannot be written.
    """
    if not archive.is_file():
        raise DataError(f"there is no archive {archive.absolute()}: check the path")
    bar = partial(tqdm, desc="unpacking", disable=None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for name in zipped.namelist():
                    if not (folder / name).resolve().is_relative_to(folder.resolve()):
                        raise DataError(f"{archive} holds {name}, which would land outside of {folder}: not unpacked")
                zipped.extractall(folder, bar(zipped.namelist()))
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tarred:
                tarred.extractall(folder, bar(tarred.getmembers()), filter="data")  # refuses what would land outside
        else:
            raise DataError(f"{archive} is no zip or tar archive: remove it and fetch it again")
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error}): remove it and fetch it again") from error
    except OSError as error:
        raise DataError(
            f"cannot unpack {archive} to {folder} ({error}): make room, or choose another folder"
        ) from error
