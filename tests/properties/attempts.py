"""Calls that may be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from weakshot_seg.errors import UserError

T = TypeVar("T")


def attempt(call: Callable[[], T]) -> T | str:
    """The result, or the message of the error that a user can mend; any other error passes."""
    try:
        return call()
    except UserError as error:
        return str(error)
