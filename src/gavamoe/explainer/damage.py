"""A damaged file of a run as one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from gavamoe.errors import InputError, RunError


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever fails while `path` is read as what we wrote becomes a `RunError` with its name."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        raise RunError(f"{path} is damaged or of another version; copy it again from where the run was made") from None
