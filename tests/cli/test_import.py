"""The command ``weakshot import``."""

import sys
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.cli import import_
from weakshot_seg.cli.entry_point import name_sources
from weakshot_seg.config.commands import COMMANDS
from weakshot_seg.data.importers.formats import FORMATS


@pytest.fixture
def photo_file():
    """Writes a photo."""

    def write(path, shade=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((6, 8, 3), shade + len(path.parts) + ord(path.parent.name[0]), np.uint8)
        Image.fromarray(pixels).save(path)

    return write


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["weakshot import", *map(str, arguments)])
    import_.main()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["a b", "out=c"], ["source=['a b']", "out=c"]),
        (["a", "b,c", "out=c", "--cfg", "job"], ["source=['a','b,c']", "out=c", "--cfg", "job"]),
        (["source=a", "out=c"], ["source=a", "out=c"]),
        (["--cfg", "job"], ["--cfg", "job"]),
        ([], []),
    ],
)
def test_sources_may_come_first_without_a_name(typed, meant):
    assert name_sources(typed) == meant


def test_tables_and_exit_codes(tmp_path, photo_file, monkeypatch, capsys):
    photo_file(tmp_path / "my birds/heron/a.jpg")
    photo_file(tmp_path / "my birds/otter/b.jpg")
    call(monkeypatch, tmp_path / "my birds", f"out={tmp_path / 'root'}")
    printed = " ".join(capsys.readouterr().out.split())
    assert "format photos with masks one folder per class in the source 2 0" in printed
    assert "heron 0 0 1 1 0 otter 0 0 1 1 0" in printed
    assert "2 photos (2 hard links), 0 masks, 2 tags, 2 classes" in printed
    assert (tmp_path / "root/tags.csv").is_file()
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, tmp_path / "my birds", f"out={tmp_path / 'root'}")
    assert "exists: an import never adds to one" in capsys.readouterr().err
    photo_file(tmp_path / "my birds/otter/a.jpg", shade=9)
    with pytest.raises(SystemExit, match="1"):
        call(monkeypatch, tmp_path / "my birds", f"out={tmp_path / 'other'}")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("problem: ")
    assert lines[1] == f"problems: 1; nothing is written to {tmp_path / 'other'}"
    assert not (tmp_path / "other").exists()


def test_the_settings_name_every_format():
    assert get_args(COMMANDS["import"]["format"]) == ("auto", *FORMATS)
