"""Errors a user can mend. Entry points print them as one line, without a traceback."""


class UserError(ValueError):
    """Something the user gave cannot work; the message names the culprit and the remedy."""


class DataError(UserError):
    """Images, label maps, class names or splits that do not fit together."""


class ConfigError(UserError):
    """A setting that is unknown, out of range or contradicts another."""


class DivergedError(UserError, FloatingPointError):
    """The network or the loss has become NaN or infinite."""
