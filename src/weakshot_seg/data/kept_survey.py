"""What reading all files of a data set has found, kept beside them: what has not changed is not read again."""

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import LabelFormat, LabelledFile, Survey, survey_files
from weakshot_seg.utils.files import replacing

FOLDER = ".weakshot_seg"
"""Of what is kept, within the root of a data set."""
VERSION = 1
"""Changes when files are checked for more than before."""
SETTLED = 2.0
"""Seconds: a file that was written less long ago may change again without a change of its times."""


@dataclass(frozen=True)
class Kept:
    """Arrays that depend on the content of some files alone, in ``folder``; made anew when one has changed.

    Whether it has, its size and its times tell, among them that of its last change of any kind, which programs cannot
    set back. Where the folder cannot be written, nothing is kept.

    Attributes:
        part: Names the files, whatever they hold.
        mark: Of the files as they are.
        settled: Whether a change from now on would show.
    """

    folder: Path
    part: str
    mark: str
    settled: bool

    @classmethod
    def of(cls, folder: Path, part: str, files: Sequence[LabelledFile], labels: LabelFormat) -> Self | None:
        """None if one is a link to nothing."""
        now = time.time()
        try:
            mark, newest = _fingerprint(files, labels)
        except OSError:
            return None
        return cls(folder, part, mark, newest < now - SETTLED)

    def survey(self, files: Sequence[LabelledFile], labels: LabelFormat, title: str) -> Survey:
        """:func:`~weakshot_seg.data.checks.survey_files`, kept if nothing is wrong."""
        if (kept := self._read("survey", self.mark)) is not None:
            return Survey(**kept | {"remarks": tuple(kept["remarks"].tolist())})
        survey = survey_files(files, labels, title)
        if not survey.problems:
            arrays = {name: value for name, value in vars(survey).items() if isinstance(value, np.ndarray)}
            self._write("survey", self.mark, remarks=np.array(survey.remarks, dtype=np.str_), **arrays)
        return survey

    def digests(self, make: Callable[[], dict[str, str]], known: NDArray[np.bool_]) -> dict[str, str]:
        """What ``make`` says of the files and what is ``known`` of them: bool ``[n, K]``."""
        mark = f"{self.mark} {zlib.crc32(known.tobytes()):08x}"
        if (kept := self._read("digests", mark)) is not None:
            return dict(zip(kept["names"].tolist(), kept["digests"].tolist(), strict=True))
        digests = make()
        names, values = (np.array(list(part), dtype=np.str_) for part in (digests.keys(), digests.values()))
        self._write("digests", mark, names=names, digests=values)
        return digests

    def _read(self, what: str, mark: str) -> dict[str, Any] | None:
        # nothing is kept, or it is damaged, for which NumPy raises many kinds
        with suppress(Exception), np.load(self._place(what), allow_pickle=False) as kept:
            if kept["mark"] == mark:
                return {name: kept[name] for name in kept.files if name != "mark"}
        return None

    def _write(self, what: str, mark: str, **arrays: Any) -> None:
        if self.settled:
            with suppress(OSError), replacing(self._place(what)) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, mark=np.array(mark), **arrays)

    def _place(self, what: str) -> Path:
        return self.folder / f"{what}-{self.part}.npz"


def _fingerprint(files: Sequence[LabelledFile], labels: LabelFormat) -> tuple[str, float]:
    """Of names, sizes and times of the files and the meaning of ids; and when the last of them changed."""
    paths = [path for file in files for path in (file.image, file.labels) if path is not None]
    found = (os.stat(path) for path in paths)
    states = np.array([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found], dtype=np.int64).reshape(-1, 3)
    meaning = VERSION, list(labels.stored), labels.ignore_label, labels.max_pixels
    names = ((file.name, file.image.suffix, file.labels is None) for file in files)
    digest = hashlib.sha256(repr(meaning).encode())
    digest.update("\n".join(map(repr, names)).encode())
    digest.update(states.tobytes())
    return digest.hexdigest(), float(states[:, 1:].max(initial=0)) / 1e9
