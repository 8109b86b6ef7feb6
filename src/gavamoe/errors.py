"""The user's mistakes, as exceptions: one plain line that says what, where and what to do.

The command line prints the line and exits with 2; a library caller catches `InputError`.
Anything that is not an `InputError` is a fault of ours and keeps its traceback (exit 1).
"""


class InputError(ValueError):
    """Bad input or usage: the message is one line that says what is wrong, where, and what to do."""


class DataError(InputError):
    """A review file or a prepared dataset that cannot be used."""


class RunError(InputError):
    """A run directory that is missing, incomplete, or not what was asked for."""


class ConfigError(InputError):
    """A configuration value that is unknown, out of range, or contradicts another."""
