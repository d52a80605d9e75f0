"""Reading detectron2's ``.pkl`` without running anything in it.

A pickle names functions to call. Here it may name those of numpy's arrays, of bytes and of ``OrderedDict``; for numpy's
there are stand-ins that just take notes: no constructor of numpy sees a byte of the file before it has been checked.
"""

import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from weakshot_seg.utils.files import reading

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""Admitted array types: booleans, integers and floats, as numpy abbreviates them."""


def load_pickle(path: Path) -> Any:
    """What a pickle (protocol 0 to 5) of plain containers, strings, numbers and numeric numpy arrays holds.

    A DataError if it is missing or broken, or needs anything else (nothing of it has been executed then).
    """
    with reading(path, "a .pkl may hold nothing but plain containers and numpy arrays"), path.open("rb") as file:
        _check_numbers(file)
        file.seek(0)
        return _plain(_Unpickler(file, encoding="latin1").load())  # Python 2 wrote bytes as strings


def _check_numbers(file: IO[bytes]) -> None:
    """Refuses numbers of entries beyond their count: Python's reader makes room for as many as the highest says."""
    for count, (code, number, _) in enumerate(pickletools.genops(file)):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and number is not None and int(number) > count:
            raise pickle.UnpicklingError(f"it numbers an entry {number}, of {count}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = ADMITTED.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return known


class _DType:
    """Notes of a dtype: its abbreviation and byte order."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        if code not in DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"it holds an array with the byte order {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Notes of an array, filled in by the BUILD step of the pickle."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *_, shape, dtype, fortran, data = state
        self.value = _make_array(data, dtype, shape, "F" if fortran else "C")


def _make_array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """A copy of ``data`` as an array, after checking that everything fits."""
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError("it holds an array without a type")
    if isinstance(data, str):
        data = data.encode("latin1")
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(data, bytes | bytearray) or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError("it holds an array that is not made of bytes")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"it holds {len(data)} bytes for an array of shape {tuple(shape)}")
    array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
    return np.array(array, dtype=dtype.dtype.newbyteorder("="))


def _plain(value: Any) -> Any:
    """Containers with the notes replaced by arrays; anything else left is a number, a string, bytes or None."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | bytearray | np.ndarray):
        return value
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")


ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("numpy.core.multiarray", "scalar"): lambda dtype, data: _make_array(data, dtype, (), "C"),
    ("numpy.core.numeric", "_frombuffer"): _make_array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),  # bytes of protocols 0 to 2, ...
    ("__builtin__", "bytes"): lambda: b"",  # ... and empty ones
    ("collections", "OrderedDict"): OrderedDict,
}
"""The only names a pickle may use, and what they stand for here."""
