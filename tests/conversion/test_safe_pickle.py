"""Pickles from strangers: numpy arrays and plain containers, and nothing else, ever."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weakshot_seg.conversion.detectron2 import load_file
from weakshot_seg.conversion.safe_pickle import load_pickle
from weakshot_seg.errors import DataError

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "big endian": np.arange(5, dtype=">i4"),
    "point": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 3), dtype=np.float16),
    "flags": np.array([True, False]),
    "scalar": np.float64(2.5),
}


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


def dump(path: Path, content: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers(protocol: int, tmp_path: Path) -> None:
    """The last protocols, and module numpy.core as numpy 1 and Python 2 wrote it."""
    others = {"__author__": "someone", "list": [1, 2.5, None, True, b"bytes", ("a", {"b": 3})]}
    path = dump(tmp_path / "file.pkl", {"model": OrderedDict(ARRAYS), **others}, protocol)
    if protocol < 4:  # later ones store lengths
        path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    read = load_pickle(path)
    model = read.pop("model")
    assert read == others
    for name, array in ARRAYS.items():
        assert np.array_equal(model[name], array)
        assert model[name].dtype == array.dtype.newbyteorder("=")


def hostile(victim: Path) -> dict[str, object]:
    """Objects that write ``victim`` when they are unpickled, or that numpy must not be given."""
    return {
        "os.system": Calls(os.system, f"touch {victim}"),
        "exec": Calls(exec, f"open({str(victim)!r}, 'w').close()"),
        "deep": {"model": [{"weight": (1, Calls(eval, f"__import__('pathlib').Path({str(victim)!r}).touch()"))}]},
        "getattr": Calls(getattr, "a string", "upper"),
        "numpy.save": Calls(np.save, str(victim), 1),
        "objects": np.array([Calls(os.system, f"touch {victim}")], dtype=object),
        "harmless objects": np.array([{}, []], dtype=object),
        "class": Path("x"),
        "tensor": torch.zeros(2),
    }


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_is_executed(protocol: int, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for content in hostile(victim).values():
        path = dump(tmp_path / "file.pkl", content, protocol)
        with pytest.raises(DataError, match=r"cannot read .*file\.pkl \(.*\): a \.pkl may hold nothing but"):
            load_pickle(path)
        assert not victim.exists()
    pickle.loads(pickle.dumps(hostile(victim)["os.system"]))
    assert victim.exists()  # the trap is real: an ordinary reader does run it


def test_broken_files(tmp_path: Path) -> None:
    whole = pickle.dumps(ARRAYS["matrix"], 4)
    for old, new in ((b"f4", b"O8"), (b"f4", b"f8"), (b"K\x02K\x03", b"K\x02K\x7f")):  # do not fit the bytes
        assert old in whole
        (tmp_path / "file.pkl").write_bytes(whole.replace(old, new))
        with pytest.raises(DataError, match="it holds "):
            load_pickle(tmp_path / "file.pkl")
    high = pickle.dumps({"a": [1]}, 2)  # the reader would make room for as many entries
    (tmp_path / "file.pkl").write_bytes(high.replace(b"q\x01", b"r\xff\xff\xff\x10"))
    with pytest.raises(DataError, match=r"it numbers an entry 285212671, of \d"):
        load_pickle(tmp_path / "file.pkl")
    (tmp_path / "cut.pkl").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("cut.pkl", "text.pth", "nowhere.pkl", "nowhere.pth"):
        with pytest.raises(
            DataError, match=f"cannot read .*{name} " + (r"\(No such file" if "nowhere" in name else "")
        ):
            load_file(tmp_path / name)
