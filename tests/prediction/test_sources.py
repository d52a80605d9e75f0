"""What is found, and that no two results are one file."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.prediction.records import Item
from weakshot_seg.prediction.sources import find_items

Find = Callable[..., dict[str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "a.jpg",
        "b.PNG",
        "deep/er/c.webp",
        "deep/a.jpg",
        "deep/clip.MP4",
        "notes.txt",
        ".d.jpg",
        ".git/e.jpg",
    ):
        touch(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Finds; returns path -> name of the results, paths relative to the temporary folder."""

    def call(*sources: object, listed: bytes = b"") -> dict[str, str]:
        items = find_items([str(source) for source in sources], io.BytesIO(listed))
        return {item.path.relative_to(tmp_path).as_posix(): item.name for item in items}

    return call


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_folder_with_folders(root: Path, find: Find) -> None:
    found = find(root)
    assert found == {
        "in/a.jpg": "a",
        "in/b.PNG": "b",
        "in/deep/a.jpg": "deep/a",
        "in/deep/clip.MP4": "deep/clip",
        "in/deep/er/c.webp": "deep/er/c",
    }
    assert list(found) == sorted(found)


def test_linked_folders_count_once_and_loops_end(root: Path, tmp_path: Path, find: Find) -> None:
    before = find(root)
    touch(tmp_path / "other" / "x.jpg")
    links = {"aaa": root / "deep", "deep/loop": root, "linked": tmp_path / "other", "twice": tmp_path / "other"}
    for link, target in links.items():
        (root / link).symlink_to(target)
    (tmp_path / "other" / "back").symlink_to(root)
    found = find(root)
    assert found == before | {"in/linked/x.jpg": "linked/x"}  # each where it lies, if that is no link
    assert found == find("-", listed=os.fsencode(root)) == find(f"{root}/**") == find(f"{root}/**/*.[jPwM]*")


def test_patterns(root: Path, find: Find) -> None:
    assert find(f"{root}/*.jpg") == {"in/a.jpg": "a"}
    assert find(f"{root}/**/*.jpg") == {"in/a.jpg": "a", "in/deep/a.jpg": "deep/a"}
    assert find(f"{root}/*/[a-c].jpg") == {"in/deep/a.jpg": "deep/a"}
    assert find(touch(root / "a[1].jpg")) == {"in/a[1].jpg": "a[1]"}  # a file of that name is no pattern


def test_several_sources_and_one_file_twice(root: Path, find: Find) -> None:
    assert find(root / "deep" / "er", root / "a.jpg", f"{root}/*.jpg") == {
        "in/deep/er/c.webp": "deep/er/c",
        "in/a.jpg": "a",
    }
    assert find(root / "deep" / "a.jpg", root / "a.jpg") == {"in/deep/a.jpg": "deep/a", "in/a.jpg": "a"}
    assert find(root / "deep" / ".." / "a.jpg", root / "a.jpg") == {"in/a.jpg": "a"}


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_paths_on_standard_input(separator: bytes, root: Path, find: Find) -> None:
    paths = [root / "b.PNG", root / "missing.jpg", root / "deep", root / "b.PNG"]
    listed = separator.join(os.fsencode(path) for path in paths) + separator
    assert list(find("-", listed=listed)) == [
        "in/b.PNG",
        "in/missing.jpg",  # whoever reads it reports it
        "in/deep/a.jpg",
        "in/deep/clip.MP4",
        "in/deep/er/c.webp",
    ]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    strange = os.fsencode(tmp_path) + b"/a\nb\xff.jpg"
    (item,) = find_items(["-"], io.BytesIO(strange + b"\0"))
    assert os.fsencode(item.path) == strange


def test_results_are_not_predicted_again(root: Path, find: Find) -> None:
    touch(root / "out" / "labels" / "a.png")
    touch(root / "out" / "mine.png")
    touch(root / "labels" / "a.png")  # such a folder alone is nobody's result
    touch(root / "out" / "predictions.json")
    assert find(root).keys() >= {"in/out/mine.png", "in/labels/a.png"}
    for source, listed in ((root, b""), (f"{root}/**/*.png", b""), ("-", b"%s/out/labels/a.png\n%s/a.jpg")):
        listed = listed.replace(b"%s", os.fsencode(root))
        assert "in/out/labels/a.png" not in find(source, listed=listed)
    with pytest.raises(ConfigError, match=r"labels/a.png is itself a result"):
        find(root / "out" / "labels" / "a.png")


def test_nothing_found(root: Path, find: Find) -> None:
    (root / "empty").mkdir()
    for source in (root / "nowhere.jpg", root / "empty", f"{root}/*.tif"):
        with pytest.raises(DataError, match=r"no such file, or no images and videos \(.*\.webp"):
            find(root, source)
    with pytest.raises(DataError, match="source=-: no paths on standard input"):
        find("-", listed=b"\n")


def test_suffixes_stay_where_names_would_be_equal(tmp_path: Path, find: Find) -> None:
    for name in ("a.jpg", "a.png", "A.webp", "a.jpg.bmp", "b.jpg", "clip.mp4", "clip/000000.jpg", "film.mp4"):
        touch(tmp_path / name)
    assert find(tmp_path) == {
        "A.webp": "A.webp",
        "a.jpg": "a.jpg",
        "a.jpg.bmp": "a.jpg.bmp",
        "a.png": "a.png",
        "b.jpg": "b",
        "clip.mp4": "clip.mp4",  # its frames are clip/000000, ...
        "clip/000000.jpg": "clip/000000",
        "film.mp4": "film",
    }


def test_no_two_results_are_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        folders = rng.choice(["", "a", "A", "b", "a.jpg", "b.mp4"], 2)
        name = f"{rng.choice(['a', 'A', 'b', 'a.jpg', '000000'])}{rng.choice(['.jpg', '.PNG', '.bmp', '.mp4', '.avi'])}"
        path = tmp_path.joinpath(*folders, name)
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            touch(path)
    items = find_items([str(tmp_path)], io.BytesIO())
    assert len(items) > 50
    names = [part for item in items for part in written(item)]
    assert len(set(names)) == len(names)


def written(item: Item) -> list[str]:
    if item.is_video:
        return [f"{item.name}.mp4", f"{item.name}.json", f"{item.name}/000000.png"]
    return [f"{item.name}.png", f"{item.name}.json"]
