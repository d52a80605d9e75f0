"""Errors a user can mend. Entry points print them as one line, without a traceback."""


class UserError(ValueError):
    """Something the user gave cannot work; the message names the culprit and the remedy."""


class DataError(UserError):
    """Images, label maps, class names or splits that do not fit together."""


class ConfigError(UserError):
    """A setting that is unknown, out of range or contradicts another."""


class BrokenCheckpointError(ConfigError):
    """A checkpoint that cannot be read: truncated, or something else than a checkpoint."""


class StoppedBySignal(SystemExit):
    """A training that was asked to end by signal ``number`` and has saved its state; entry points print the message."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(128 + number)
        self.message = message


class DivergedError(UserError, FloatingPointError):
    """The network or the loss has become NaN or infinite."""
