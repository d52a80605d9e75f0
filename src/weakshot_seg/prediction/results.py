"""Writing results: whose they are, which are finished, and that no other file is lost."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from weakshot_seg.errors import ConfigError
from weakshot_seg.prediction.layout import ABOUT, KINDS, frame_name
from weakshot_seg.prediction.record import Origin, Record, VideoRecord, write_json
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.prediction.sources import Item
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import palette


class Results:
    """Where the results of a call go.

    Args:
        out: folder, made if absent.
        origin: what predicts them.
        split: its classes.
        items: what the call predicts.
        scores: names of the classes whose scores are wanted.
        overlay_size: longer edge of the overlays in pixels at most; 0: no overlays.
        overwrite: everything is predicted anew.

    Raises:
        ConfigError: the folder holds results of something else (with ``overwrite``: some that are not of ``items``), or
            cannot be written.
    """

    def __init__(
        self,
        out: Path,
        origin: Origin,
        split: ClassSplit,
        items: Sequence[Item],
        scores: Sequence[str] = (),
        overlay_size: int = 1024,
        overwrite: bool = False,
    ) -> None:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"out={out} is a file: name a folder")
        if overlay_size < 0:
            raise ConfigError(f"overlay_size={overlay_size} must be positive, or 0 for no overlays")
        self.out, self.origin, self.scores = out, origin, list(scores)
        self.overlay_size, self.overwrite = overlay_size, overwrite
        mark = self._mark_of_folder()
        if mark != origin.mark:
            with self.writing():
                if mark is not None:
                    self._remove_others({item.name for item in items})
                write_json(out / ABOUT, asdict(origin) | {"classes": _legend(split)})

    def path(self, kind: str, name: str, suffix: str | None = None) -> Path:
        """File of a result.

        Args:
            kind: see :data:`~weakshot_seg.prediction.layout.KINDS`.
            name: of an item.
            suffix: None: that of the kind.
        """
        return self.out / kind / f"{name}{KINDS[kind] if suffix is None else suffix}"

    def finished(self, item: Item) -> bool:
        """Whether all that is wanted of an image or a frame is there and not older than the file it is of.

        Raises:
            ConfigError: see :meth:`check_owner`.
        """
        path = self.path("classes", item.name)
        record = None if self.overwrite else Record.read(path)
        if record is None:
            return False
        self.check_owner(item, record.image)
        drawn = self.overlay_size != 0 and item.frame is None
        return (
            record.model == self.origin.mark
            and set(self.scores) <= set(record.scores)
            and all(self.path(kind, item.name).exists() for kind in ("labels", *(["overlays"] if drawn else [])))
            and not older(path, item.path)
        )

    def check_owner(self, item: Item, owner: str) -> None:
        """Refuses to replace results of another file.

        Raises:
            ConfigError: results of the item's name are of the file ``owner``.
        """
        if owner != str(item.path):
            raise ConfigError(
                f"out={self.out} holds the results of {owner}, which those of {item.path} would replace: "
                "name another folder, or set overwrite=true"
            )

    def write(self, item: Item, result: Segmentation, seconds: float | None = None) -> Record:
        """Writes what is wanted of an image, or of a frame at ``seconds`` (a frame has no overlay of its own).

        Raises:
            ConfigError: a file cannot be written.
        """
        with self.writing():
            for kind in reversed(KINDS):  # an interrupted call must not leave old results beside new ones
                self.path(kind, item.name).unlink(missing_ok=True)
            with replacing(self.path("labels", item.name)) as temporary:
                result.label_image().save(temporary, "PNG")
            if self.overlay_size != 0 and item.frame is None:
                with replacing(self.path("overlays", item.name)) as temporary:
                    result.overlay(largest=self.overlay_size).save(temporary, "JPEG", quality=92, subsampling=0)
            if self.scores:
                with replacing(self.path("scores", item.name)) as temporary:
                    write_scores(temporary, result, self.scores)
            height, width = result.labels.shape
            classes = list(result.classes)
            record = Record(str(item.path), item.frame, seconds, height, width, self.origin.mark, self.scores, classes)
            write_json(self.path("classes", item.name), record)
        return record

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within, what the operating system refuses is the user's to mend.

        Raises:
            ConfigError: a file cannot be written.
        """
        try:
            yield
        except OSError as error:
            what = error.filename or self.out
            raise ConfigError(
                f"out={self.out}: cannot write {what} ({error.strerror or error}): make room or name another folder; "
                "what is finished is kept"
            ) from error

    def _remove_others(self, replaced: set[str]) -> None:
        """Removes what something else predicted: a broken image or an interruption must not leave it under new names.

        Raises:
            ConfigError: the call would not replace all of it. Nothing has been removed then.
        """
        names: list[str] = []
        for path in sorted((self.out / "classes").rglob("*.json")):
            name = path.relative_to(self.out / "classes").with_suffix("").as_posix()
            video, record = VideoRecord.read(path), Record.read(path)
            frames = video.frames if video else [record] if record else []
            if all(frame.model == self.origin.mark for frame in frames):
                continue
            # frames of an interrupted call are replaced with their video
            owner = name if record is None or record.frame is None else name.rpartition("/")[0]
            if owner not in replaced:
                raise ConfigError(
                    f"out={self.out} holds results of another model or inference that this call does not replace, such "
                    f"as {path}: name another folder, remove this one, or predict all of its images again"
                )
            names += [frame_name(name, frame.frame or 0) for frame in frames] if video else []
            names.append(name)
        for name in names:
            for kind in KINDS:  # the classes last: what has them is known to be there
                self.path(kind, name).unlink(missing_ok=True)
            self.path("overlays", name, ".mp4").unlink(missing_ok=True)

    def _mark_of_folder(self) -> str | None:
        path = self.out / ABOUT
        if not path.exists():
            strange = [kind for kind in KINDS if (self.out / kind).exists()]
            if strange:
                raise ConfigError(
                    f"out={self.out} has a folder {strange[0]}, but no {ABOUT}, so that it is not of predictions: "
                    "name another folder"
                )
            return None
        try:
            content = json.loads(path.read_text(encoding="ascii"))
            before = Origin(**{name: content[name] for name in asdict(self.origin)})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"out={self.out}: its {ABOUT} is not one of predictions; name another folder") from error
        if before.mark != self.origin.mark and not self.overwrite:
            raise ConfigError(
                f"out={self.out} holds predictions of another model or inference (ckpt={before.checkpoint}, "
                f"{before.inference}): name another folder, or set overwrite=true"
            )
        return before.mark


def write_scores(path: Path, result: Segmentation, names: Sequence[str]) -> None:
    """Scores as ``.npz``: an array float16 ``[h, w]`` per class, under its name.

    No pictures: scores may exceed 1, those of novel classes may be small, and class names need not be file names.
    """
    with ZipFile(path, "w") as archive:
        for name in names:
            content = io.BytesIO()
            np.lib.format.write_array(content, result.scores(name).astype(np.float16))
            # without a date: equal scores are equal files
            archive.writestr(ZipInfo(f"{name}.npy"), content.getbuffer(), ZIP_DEFLATED, compresslevel=1)


def older(result: Path, source: Path) -> bool:
    """Whether a file was written before another one; that may be missing."""
    try:
        return os.path.getmtime(result) < os.path.getmtime(source)
    except FileNotFoundError:
        return False


def _legend(split: ClassSplit) -> list[dict[str, object]]:
    colours = palette(split.num_classes).tolist()
    return [
        {"class_id": i, "name": name, "novel": i in split.novel, "color": "#{:02x}{:02x}{:02x}".format(*colours[i])}
        for i, name in enumerate(split.names)
    ]
