"""Exceptions for mistakes in the user's input. Each message is one plain line: what, where and what to do.

The command line prints the line and exits with status 2. Library callers catch `InputError`.
Any other exception is a bug in gavamoe: it keeps its traceback, and the command line exits with status 1.
"""


class InputError(ValueError):
    """Bad input or usage: the message is one line that says what is wrong, where, and what to do."""


class DataError(InputError):
    """A review file or a prepared dataset that cannot be used."""


class RunError(InputError):
    """A run directory that is missing, incomplete or damaged, or that does not match the request."""


class DivergenceError(InputError):
    """A training whose loss or weights are no longer finite numbers; says where, and how to train instead."""


class ConfigError(InputError):
    """A setting that is unknown, out of range, or contradicts another setting."""
