"""What files held is kept, and not believed once a file has changed."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data import kept_survey
from weakshot_seg.data.checks import BadFiles, survey_files
from weakshot_seg.data.readers.files import FolderImages

MASK = "annotations/training/photo1.png"


@pytest.fixture
def root(make_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kept_survey, "SETTLED", -3600.0)  # files that are new are kept, too
    return make_folder()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Files read in each survey."""
    counts: list[int] = []

    def counted(files, *args):
        counts.append(len(files))
        return survey_files(files, *args)

    monkeypatch.setattr(kept_survey, "survey_files", counted)
    return counts


def read(root: Path, **settings) -> FolderImages:
    return FolderImages(root, "images/training", "annotations/training", verify="once", **settings)


def equal(one: FolderImages, other: FolderImages) -> bool:
    pairs = zip(vars(one.survey).values(), vars(other.survey).values(), strict=True)
    return all(np.array_equal(a, b) and type(a) is type(b) for a, b in pairs)


def test_files_are_read_once(root: Path, readings: list[int]) -> None:
    first, second = read(root), read(root)
    assert readings == [3]
    assert equal(first, second)
    assert equal(second, FolderImages(root, "images/training", "annotations/training"))
    FolderImages(root, "images/validation", "annotations/validation", verify="once")
    read(root)
    assert readings == [3, 1]
    assert sorted(path.name[:7] for path in (root / ".weakshot_seg").iterdir()) == ["survey-"] * 2


def test_digests_are_kept(root: Path) -> None:
    afresh = FolderImages(root, "images/training", "annotations/training").digests()
    assert [read(root).digests() for _ in range(2)] == [afresh] * 2
    (root / "tags.csv").write_text("image,classes\nphoto0,cat\nphoto1,cat\nphoto2,cat\n")
    tagged = read(root, tags="tags.csv").digests()
    assert tagged == FolderImages(root, "images/training", "annotations/training", tags="tags.csv").digests()
    Image.fromarray(np.zeros((33, 17), np.uint8)).save(root / MASK)
    changed = read(root, tags="tags.csv").digests()
    assert {name for name in changed if changed[name] != tagged[name]} == {"photo1"}


def test_a_change_is_seen_though_size_and_time_are_as_before(root: Path, readings: list[int]) -> None:
    before, path = read(root), root / MASK
    state, content = path.stat(), path.read_bytes()
    broken = bytearray(content)
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    for _ in range(2):  # what is wrong is not kept
        with pytest.raises(BadFiles, match="photo1"):
            read(root)
    path.write_bytes(content)
    assert equal(read(root), before)
    Image.fromarray(np.zeros((33, 17), np.uint8)).save(path)
    assert read(root).presence()[1].tolist() == [True, False, False]
    assert readings == [3] * 5


def test_other_files_and_other_meanings_are_read(root: Path, readings: list[int]) -> None:
    read(root)
    read(root, ignore_label=254)
    (root / "classes.txt").write_text("sky\ngrass\ncat\ndog")
    read(root)
    for kind in ("images/training/photo0.jpg", "annotations/training/photo0.png"):
        (root / kind).unlink()
    read(root)
    read(root, max_pixels=10**6)
    assert readings == [3, 3, 3, 2, 2]


def test_damage_of_what_is_kept_does_no_harm(root: Path, readings: list[int]) -> None:
    first = read(root)
    (kept,) = (root / ".weakshot_seg").iterdir()
    content = kept.read_bytes()
    for spoilt in (b"", b"no archive", content[: len(content) // 2], content[:200] + bytes(200) + content[400:]):
        kept.write_bytes(spoilt)
        assert equal(read(root), first)
    assert readings == [3] * 5


def test_what_was_just_written_is_not_believed(
    root: Path, readings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_survey, "SETTLED", 3600.0)
    read(root)
    read(root)
    assert readings == [3, 3]
    assert not (root / ".weakshot_seg").exists()


def test_a_folder_that_cannot_be_written(root: Path, readings: list[int]) -> None:
    (root / ".weakshot_seg").write_text("a file in its place")
    assert equal(read(root), read(root))
    assert readings == [3, 3]
