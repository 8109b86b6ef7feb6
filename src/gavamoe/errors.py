"""Exceptions for mistakes in the user's input. Each message is one plain line: what, where and what to do.

The command line prints the line and exits with status 2. Library callers catch `InputError`.
Any other exception is a bug in gavamoe: it keeps its traceback, and the command line exits with status 1.
"""

from __future__ import annotations

import unicodedata

LONGEST, TAIL = 1000, 300  # characters of a message, and how many of them are kept from its end: the advice
JOINERS = "\u200c\u200d"  # invisible, and part of words


def printable(text: str) -> str:
    """Return a text as one line that a terminal shows as it is: control characters are escaped, white space is a space.

    Messages quote values of files, and such a value may hold control sequences of a terminal.
    """
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    if character.isspace() and (character in "\t\n\r" or unicodedata.category(character) == "Zs"):
        return " "
    return character.encode("unicode_escape").decode("ascii")


class InputError(ValueError):
    """Bad input or usage: the message is one line that says what is wrong, where, and what to do.

    A long message is cut in the middle, because a value of a file may be of any length.
    """

    def __init__(self, message: str = "") -> None:
        message = str(message)
        if len(message) > LONGEST:
            message = f"{message[: LONGEST - TAIL]} [...] {message[-TAIL:]}"
        super().__init__(printable(message))


class DataError(InputError):
    """A review file or a prepared dataset that cannot be used."""


class RunError(InputError):
    """A run directory that is missing, incomplete or damaged, or that does not match the request."""


class DivergenceError(InputError):
    """A training whose loss or weights are no longer finite numbers; says where, and how to train instead."""


class ConfigError(InputError):
    """A setting that is unknown, out of range, or contradicts another setting."""
