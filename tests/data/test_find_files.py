"""Files by pattern: as ``glob`` finds them, and an end to loops of links."""

import glob
from pathlib import Path

import pytest

from weakshot_seg.data.find_files import files_below, files_matching

FILES = ("a.jpg", "b.png", "x/a.jpg", "x/b.jpg", "x/y/a.jpg", "x/y/z/c[1].jpg", "y/a.jpg", ".h/a.jpg", "x/.b.jpg")


@pytest.fixture
def tree(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


PATTERNS = """
    *  *.jpg  x/?.jpg  **  **/*.jpg  **/a.jpg  x/**  x/**/*  */**/a.*  **/y/**/*.jpg  **/y/*/*  .h/*  **/.b.jpg
    x/**/[ab].jpg  **/c[[]1].jpg  nowhere/**  **/**/b.*  [xy]/**
"""


@pytest.mark.parametrize("pattern", PATTERNS.split())
def test_as_glob_finds_them(pattern, tree):
    expected = {path for path in map(Path, glob.glob(str(tree / pattern), recursive=True)) if path.is_file()}
    found = files_matching(tree / pattern)
    assert found == sorted(expected)


@pytest.mark.parametrize("find", [files_below, lambda folder: files_matching(folder / "**")])
def test_loops_of_links_end(find, tree):
    before = find(tree)
    for name in ("loop", "x/up", "x/y/up", "y/up"):
        (tree / name).symlink_to(tree)
    (tree / "y/x").symlink_to(tree / "x")
    assert find(tree) == before
    (tree / "gone.jpg").symlink_to(tree / "nowhere")
    assert find(tree) == sorted([*before, tree / "gone.jpg"])
