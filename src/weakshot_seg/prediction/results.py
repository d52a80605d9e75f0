"""Writing results: which are finished already, and that no other file is lost."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from weakshot_seg.errors import ConfigError
from weakshot_seg.prediction.records import MANIFEST, SUFFIXES, Item, Origin, Record, write_json
from weakshot_seg.prediction.segmentation import Segmentation
from weakshot_seg.structures import ClassSplit
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import label_png, palette


@dataclass(frozen=True)
class Wanted:
    """What to write of each file; the settings of ``conf/predict.yaml``, ``scores`` as names of classes."""

    scores: list[str]
    overlay_size: int
    overwrite: bool
    video_every: int
    video_labels: bool


class Results:
    """What a call writes of its ``items`` to the folder ``out``, made if absent; ``origin`` predicts them.

    Raises:
        ConfigError: the folder holds results of something else (with ``overwrite``: some that are not of ``items``).
        OSError: this and all methods: a file cannot be written.
    """

    def __init__(self, out: Path, origin: Origin, split: ClassSplit, items: Sequence[Item], wanted: Wanted) -> None:
        self.out, self.wanted = out, wanted
        before = self._origin()
        if before == origin:
            return
        if before is not None:
            if not wanted.overwrite:
                raise ConfigError(
                    f"out={out} holds predictions of another model or inference (ckpt={before.checkpoint}, "
                    f"{before.inference}): name another folder, or set overwrite=true"
                )
            self._remove_all({item.name for item in items})
        colours = [f"#{bytes(colour).hex()}" for colour in palette()]
        classes = [
            {"class_id": i, "name": name, "novel": i in split.novel, "color": colours[i]}
            for i, name in enumerate(split.names)
        ]
        write_json(out / MANIFEST, asdict(origin) | {"classes": classes})

    def path(self, kind: str, item: Item) -> Path:
        """File of a result; for ``kind`` see :data:`~weakshot_seg.prediction.records.SUFFIXES`."""
        suffix = ".mp4" if item.is_video and kind == "overlays" else SUFFIXES[kind]
        return self.out / kind / f"{item.name}{suffix}"

    def finished(self, item: Item) -> Record | None:
        """The record of an item if all that is wanted of it is there and not older than its file, else None.

        A ConfigError if results of the item's name are of another file.
        """
        path, wanted = self.path("classes", item), self.wanted
        record = None if wanted.overwrite else Record.read(path)
        if record is None:
            return None
        if record.image != str(item.path):
            raise ConfigError(
                f"out={self.out} holds the results of {record.image}, which those of {item.path} would replace: "
                "name another folder, or set overwrite=true"
            )
        files = [self.path("overlays", item)] if wanted.overlay_size > 0 and item.frame is None else []
        if not item.is_video or wanted.video_labels:
            files += [self.path("labels", part) for part in _parts(item, record)]
        is_finished = (
            set(wanted.scores) <= set(record.scores)
            and record.every == (wanted.video_every if item.is_video else None)
            and all(file.exists() for file in files)
            and not (item.path.exists() and path.stat().st_mtime < item.path.stat().st_mtime)
        )
        return record if is_finished else None

    def write(self, item: Item, result: Segmentation) -> Record:
        """Writes what is wanted of an image or a frame (which has no overlay of its own)."""
        self.remove(item)
        with replacing(self.path("labels", item)) as temporary:
            label_png(result.labels).save(temporary, "PNG")
        if self.wanted.overlay_size > 0 and item.frame is None:
            with replacing(self.path("overlays", item)) as temporary:
                picture = result.overlay(largest=self.wanted.overlay_size)
                picture.save(temporary, "JPEG", quality=92, subsampling=0)
        if self.wanted.scores:
            with replacing(self.path("scores", item)) as temporary:
                _write_scores(temporary, result, self.wanted.scores)
        (height, width), classes = result.labels.shape, list(result.classes)
        record = Record(str(item.path), height, width, self.wanted.scores, classes, item.frame, item.seconds)
        record.write(self.path("classes", item))
        return record

    def finish_video(self, item: Item, frames: list[Record]) -> None:
        """Replaces the records of a video's frames by one, and removes their label maps unless they are wanted."""
        every = self.wanted.video_every
        record = replace(frames[0], classes=[], frame=None, seconds=None, every=every, frames=frames)
        record.write(self.path("classes", item))
        for kind in ("classes",) if self.wanted.video_labels else ("classes", "labels"):
            for part in _parts(item, record):
                self.path(kind, part).unlink(missing_ok=True)
            with suppress(OSError):  # frames of an interrupted call with another step
                (self.out / kind / item.name).rmdir()

    def remove(self, item: Item) -> None:
        """Removes results of an item: an interrupted call must not leave old ones beside new ones."""
        for kind in SUFFIXES:  # the classes last: what has them is known to be there
            self.path(kind, item).unlink(missing_ok=True)

    def _remove_all(self, replaced: set[str]) -> None:
        """Removes all results, or none with a ConfigError if the call would not replace them.

        A broken image or an interruption must not leave those of another model.
        """
        items: list[Item] = []
        folder = self.out / "classes"
        for path in sorted(folder.rglob("*.json")):
            if not (record := Record.read(path)):
                continue
            item = Item(Path(record.image), path.relative_to(folder).with_suffix("").as_posix(), record.frame)
            # frames of an interrupted call are replaced with their video
            if (item.name if item.frame is None else item.name.rpartition("/")[0]) not in replaced:
                raise ConfigError(
                    f"out={self.out} holds results of another model or inference that this call does not replace, such "
                    f"as {path}: name another folder, remove this one, or predict all of its images again"
                )
            items += [*_parts(item, record), item]
        for item in items:
            self.remove(item)

    def _origin(self) -> Origin | None:
        """What predicted the results that are there; None: there are none."""
        path, remedy = self.out / MANIFEST, "name another folder"
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="ascii"))
                del content["classes"]
                return Origin(**content)
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise ConfigError(f"out={self.out}: its {MANIFEST} is not one of predictions; {remedy}") from error
        if strange := [kind for kind in SUFFIXES if (self.out / kind).exists()]:
            raise ConfigError(f"out={self.out} has a folder {strange[0]}, but no {MANIFEST} of predictions: {remedy}")
        return None


def _parts(item: Item, record: Record) -> list[Item]:
    """The predicted frames of a video; an image itself."""
    return [item.at(frame.frame or 0) for frame in record.frames] if item.is_video else [item]


def _write_scores(path: Path, result: Segmentation, names: Sequence[str]) -> None:
    """Scores as ``.npz``: an array float16 ``[h, w]`` per class, under its name; one class in memory at a time.

    No pictures: scores may exceed 1, those of novel classes may be small, and class names need not be file names.
    """
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, result.scores(name).astype(np.float16))
