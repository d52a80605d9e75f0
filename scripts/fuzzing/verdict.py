"""What may come of an input: it is read as it is, it is refused in a line, or nobody else can tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weakshot_seg.errors import UserError


class Refused(Exception):
    """The input was refused in one line that names the file."""

    @staticmethod
    @contextmanager
    def expected(path: Path) -> Iterator[None]:
        """Turns a refusal in the block into this exception, after a look at its message."""
        try:
            yield
        except UserError as error:
            message = str(error)
            require(message.isprintable(), f"the message is no line: {message!r}")
            require(str(path) in message, f"the message does not name the file: {message}")
            raise Refused(message) from None


class Unjudged(Exception):
    """The input was read, and there is no second reader of it."""


class Wrong(Exception):
    """What was read is not what the file holds."""


def require(true: bool, message: str) -> None:
    """Raises :class:`Wrong`, with the message, if something is not ``true``."""
    if not true:
        raise Wrong(message)
