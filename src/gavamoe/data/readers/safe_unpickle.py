"""Load pickles safely: only plain values and a short list of names are rebuilt; no code of the pickle is run."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gavamoe.data.readers.inputs import EmptyFileError, InputFile, locate
from gavamoe.data.readers.reading import printable
from gavamoe.errors import DataError

BUILTINS: Mapping[str, Any] = {"builtins.set": set, "builtins.frozenset": frozenset, "builtins.slice": slice}


def load_pickle(source: InputFile | Path, allowed: Mapping[str, Any] | None = None) -> Any:
    """Load a pickle of builtin values.

    Args:
        source: the file.
        allowed: further names that may appear in the pickle, each with the object that replaces it.

    Returns:
        The unpickled value; its type is what the file says, hence Any.

    Raises:
        DataError: the file contains another name (it could run code when loaded), or is damaged.
        EmptyFileError: the file is empty.
    """
    source = locate(source) if isinstance(source, Path) else source
    path = source.path
    data = b"".join(source.blocks(16 << 20))
    if not data:
        raise EmptyFileError(f"{path} is empty: expected reviews")
    try:
        return _Unpickler(data, path, {**BUILTINS, **(allowed or {})}).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise DataError(f"{path} is not a pickle that can be read: {_first_line(error)}") from error


class _Unpickler(pickle.Unpickler):
    """An unpickler that resolves names only through an allow list."""

    def __init__(self, data: bytes, path: Path, allowed: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full_name not in self._allowed:
            raise DataError(
                f"{self._path}: refused: the pickle asks for {full_name}, and loading it could run code; "
                "only lists, dicts, tuples, strings and numbers are read"
            )
        replacement: Callable[..., Any] = self._allowed[full_name]
        return replacement


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0], 160)
