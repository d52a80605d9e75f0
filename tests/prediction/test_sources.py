"""What is found, and that no two results are one file."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.sources import LeftOut, find_items
from weakshot_seg.utils.files import LEFTOVER, replacing

Find = Callable[..., dict[str, str]]
EVERYTHING = ["a.jpg", "b.PNG", "deep/a.jpg", "deep/clip.MP4", "deep/er/c.webp"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path / "in", *EVERYTHING, "notes.txt", ".d.jpg", ".git/e.jpg")
    return tmp_path / "in"


@pytest.fixture
def find(root: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Finds; returns path -> name of the results, paths relative to the root."""

    def call(*sources: object, listed: bytes = b"") -> dict[str, str]:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(listed)))
        return {os.path.relpath(item.path, root): item.name for item in find_items([str(source) for source in sources])}

    return call


def touch(folder: Path, *names: str) -> None:
    for path in map(folder.joinpath, names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_linked_folders_count_once_and_loops_end(root: Path, tmp_path: Path, find: Find) -> None:
    before = find(root)
    assert before == {name: os.path.splitext(name)[0] for name in EVERYTHING}
    touch(tmp_path / "other", "x.jpg")
    links = {"aaa": root / "deep", "deep/loop": root, "linked": tmp_path / "other", "twice": tmp_path / "other"}
    for link, target in links.items():
        (root / link).symlink_to(target)
    (tmp_path / "other" / "back").symlink_to(root)
    found = find(root)
    assert list(found) == sorted(found)
    assert found == before | {"linked/x.jpg": "linked/x"}  # each where it lies, if that is no link
    assert found == find("-", listed=os.fsencode(root)) == find(f"{root}/**") == find(f"{root}/**/*.[jPwM]*")


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["*.jpg"], {"a.jpg": "a"}),
        (["**/*.jpg"], {"a.jpg": "a", "deep/a.jpg": "deep/a"}),
        (["*/[a-c].jpg"], {"deep/a.jpg": "deep/a"}),
        (["a[1].jpg"], {"a[1].jpg": "a[1]"}),  # a file of that name is no pattern
        (["deep/er", "a.jpg", "*.jpg"], {"deep/er/c.webp": "deep/er/c", "a.jpg": "a"}),
        (["deep/a.jpg", "a.jpg"], {"deep/a.jpg": "deep/a", "a.jpg": "a"}),
        (["deep/../a.jpg", "a.jpg"], {"a.jpg": "a"}),
    ],
)
def test_patterns_and_several_sources(sources: list[str], found: dict[str, str], root: Path, find: Find) -> None:
    if "a[1].jpg" in sources:
        touch(root, "a[1].jpg")
    assert list(find(*(root / source for source in sources)).items()) == list(found.items())


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_paths_on_standard_input(separator: bytes, root: Path, find: Find) -> None:
    names = ("b.PNG", "missing.jpg", "deep", "b.PNG")
    listed = b"".join(os.fsencode(root / name) + separator for name in names)
    # whoever reads the missing one reports it
    assert list(find("-", listed=listed)) == ["b.PNG", "missing.jpg", *EVERYTHING[2:]]
    if separator == b"\0":
        assert os.fsencode(*find("-", listed=os.fsencode(root) + b"/a\nb\xff.jpg\0")) == b"a\nb\xff.jpg"


def test_results_are_not_predicted_again(root: Path, find: Find) -> None:
    # a folder labels alone is nobody's result
    touch(root, "out/labels/a.png", "out/mine.png", "labels/a.png", "out/predictions.json")
    assert find(root).keys() >= {"out/mine.png", "labels/a.png"}
    listed = b"%s/out/labels/a.png\n%s/a.jpg".replace(b"%s", os.fsencode(root))
    for source in (root, f"{root}/**/*.png", "-"):
        assert "out/labels/a.png" not in find(source, listed=listed)
    with pytest.raises(ConfigError, match=r"labels/a.png is itself a result"):
        find(root / "out" / "labels" / "a.png")


def test_nothing_found(root: Path, find: Find) -> None:
    (root / "empty").mkdir()
    for source in (root / "nowhere.jpg", root / "empty", f"{root}/*.tif"):
        with pytest.raises(DataError, match=r"no such file, or no images and videos \(.*\.webp"):
            find(root, source)
    with pytest.raises(DataError, match="source=-: no paths on standard input"):
        find("-", listed=b"\n")


def test_suffixes_stay_where_names_would_be_equal(tmp_path: Path) -> None:
    expected = {
        "A.webp": "A.webp",
        "a.jpg": "a.jpg",
        "a.jpg.bmp": "a.jpg.bmp",
        "a.png": "a.png",
        "b.jpg": "b",
        "clip.mp4": "clip.mp4",  # its frames are clip/000000, ...
        "clip/000000.jpg": "clip/000000",
        "film.mp4": "film",
    }
    touch(tmp_path, *expected)
    assert {item.path.relative_to(tmp_path).as_posix(): item.name for item in find_items([str(tmp_path)])} == expected


def test_no_two_results_are_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        folders = rng.choice(["", "a", "A", "b", "a.jpg", "b.mp4"], 2)
        name = f"{rng.choice(['a', 'A', 'b', 'a.jpg', '000000'])}{rng.choice(['.jpg', '.PNG', '.bmp', '.mp4', '.avi'])}"
        path = tmp_path.joinpath(*folders, name)
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            touch(path.parent, name)
    items = find_items([str(tmp_path)])
    assert len(items) > 50
    names = [f"{item.name}{end}" for item in items for end in (".json", "/000000.png" if item.is_video else ".png")]
    assert len(set(names)) == len(names)


def test_what_is_left_out_is_counted(root: Path) -> None:
    touch(root, "IMG_1.CR2", "deep/img_2.cr2", "LICENSE", ".hidden.cr2", "x.heic", "y.JFIF", "z.avif", "w.gif")
    left_out = LeftOut()
    items = find_items([str(root), str(root / "*"), str(root / "LICENSE")], left_out=left_out)
    assert {"x.heic", "y.JFIF", "z.avif", "w.gif", "LICENSE"} < {item.path.name for item in items}  # named is wanted
    assert sorted(path.name for path in left_out) == ["IMG_1.CR2", "img_2.cr2", "notes.txt"]
    text = str(left_out)
    assert text.startswith("3 other files are left out (2 .cr2, 1 .txt): ")
    assert all(str(path) in text for path in left_out)


def test_a_folder_of_other_files_only(tmp_path: Path) -> None:
    touch(tmp_path, "a.cr2", "b.cr2")
    with pytest.raises(DataError, match=r"no images and videos .* there; 2 other files are left out \(2 \.cr2\)"):
        find_items([str(tmp_path)])


def test_long_names_leave_room_for_the_suffixes_of_results(tmp_path: Path) -> None:
    """File systems take 255 bytes: NAME.json is longer than NAME.jpg, and a temporary file is longer still."""
    longest = [251 * "a", 250 * "a" + "b", 125 * "ä" + "x"]
    touch(tmp_path / "in", *(f"deep/{name}.jpg" for name in longest), "short.jpg")
    names = [item.name for item in find_items([str(tmp_path / "in")])]
    assert len({*names}) == 4
    assert names == [item.name for item in find_items([str(tmp_path / "in")])]  # a later call finds its results
    assert "short" in names
    for name in names:
        for suffix in (".json", ".png", ".npz", ".mp4"):
            with replacing(tmp_path / "out" / f"{name}{suffix}") as temporary:
                temporary.write_text(name)
            assert (tmp_path / "out" / f"{name}{suffix}").read_text() == name


def test_temporary_files_of_long_names_are_cleaned_up(tmp_path: Path) -> None:
    with replacing(tmp_path / (255 * "a")) as temporary:
        temporary.touch()
        assert LEFTOVER.fullmatch(temporary.name)
    assert [path.name for path in tmp_path.iterdir()] == [255 * "a"]


def test_brackets_of_folders_that_exist_are_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "photos [new]"
    touch(folder, "a.jpg", "deep/b.jpg")
    (folder / "deep" / "loop").symlink_to(folder)
    monkeypatch.chdir(folder)
    for source in ("**", "**/*.jpg", f"{folder}/**", f"{tmp_path}/photos [new]/**/*.jpg"):
        assert [item.name for item in find_items([source])] == ["a", "deep/b"]
