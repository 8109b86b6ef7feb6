"""Load pickles safely: only plain values and a short list of names are rebuilt; no code of the pickle is run."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from gavamoe.data.readers.containers import most_unpacked
from gavamoe.data.readers.inputs import EmptyFileError, InputFile, locate
from gavamoe.data.readers.reading import shortened
from gavamoe.errors import DataError

PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
LARGEST_KEY = 1 << 60  # larger numbers can share one hash value
LONGEST_KEY = 1000  # characters of a text in a tuple that is a key
SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
CELL_BYTES = 16
_PYTHON_UNPICKLER: Any = pickle._Unpickler
COPIES = 8  # how often the content of a file may be copied by the calls in it


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


def most_characters(source: InputFile | Path) -> int:
    """Return how many characters the texts of a pickle may have: a pickle can refer to one text again and again."""
    file = source.file if isinstance(source, InputFile) else source
    return most_unpacked(file.stat().st_size)


def most_cells(source: InputFile | Path) -> int:
    """Return how many cells the table of a pickle may have."""
    return most_characters(source) // CELL_BYTES


class _Unpickler(_PYTHON_UNPICKLER):
    """An unpickler that resolves names only through an allow list, and whose cost is linear in the size of the data.

    The base class is the one that is written in Python, since a subclass of the fast one cannot check single opcodes.
    Some of them ask for far more than their size: a bytearray is allocated before its bytes are read, hashing a key
    visits shared parts of nested tuples again and again, and each call may copy the same long argument.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_PYTHON_UNPICKLER.dispatch)

    def __init__(self, data: bytes, path: Path, allowed: Mapping[str, Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._size = len(data)
        self._copied = 0
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

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        if length > self._size:
            raise pickle.UnpicklingError("a bytearray is longer than the file")
        self.append(bytearray(self.read(length)))

    def _load_reduce(self) -> None:
        self._count_arguments(self.stack[-1])
        super().load_reduce()

    def _load_build(self) -> None:
        self._count_arguments(self.stack[-1])
        if not hasattr(type(self.stack[-2]), "__setstate__"):
            raise pickle.UnpicklingError("a state is given to an object that has none")
        super().load_build()

    def _count_arguments(self, arguments: Any) -> None:
        """Refuse calls whose arguments together are far longer than the file, since they are shared."""
        if isinstance(arguments, tuple):
            self._copied += sum(len(argument) for argument in arguments if isinstance(argument, SIZED))
        if self._copied > COPIES * self._size:
            raise pickle.UnpicklingError("the same long values are copied again and again")

    def _load_item(self) -> None:
        check_keys(self.stack[-2:-1])
        super().load_setitem()

    def _load_items(self) -> None:
        check_keys(self.stack[::2])
        super().load_setitems()

    def _load_dict(self) -> None:
        check_keys(self.stack[::2])
        super().load_dict()

    def _load_set_items(self) -> None:
        check_keys(self.stack)
        super().load_additems()

    def _load_frozenset(self) -> None:
        check_keys(self.stack)
        super().load_frozenset()

    dispatch |= {
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.REDUCE[0]: _load_reduce,
        pickle.BUILD[0]: _load_build,
        pickle.SETITEM[0]: _load_item,
        pickle.SETITEMS[0]: _load_items,
        pickle.DICT[0]: _load_dict,
        pickle.ADDITEMS[0]: _load_set_items,
        pickle.FROZENSET[0]: _load_frozenset,
    }


def check_keys(keys: Iterable[Any]) -> None:
    """Check that hashing keys of a dict or elements of a set takes time in proportion to their size.

    Raises:
        pickle.UnpicklingError: a key is neither a plain value nor a flat tuple.
    """
    for key in keys:
        if type(key) is str:
            continue
        if type(key) not in PLAIN and not (type(key) is tuple and all(type(part) in PLAIN for part in key)):
            raise pickle.UnpicklingError(f"a {type(key).__name__.strip('_')} of nested values is used as a key")
        if any(type(part) is str and len(part) > LONGEST_KEY for part in (key if type(key) is tuple else ())):
            raise pickle.UnpicklingError("a tuple of long texts is used as a key")
        if type(key) is int and abs(key) >= LARGEST_KEY:
            raise pickle.UnpicklingError("a number of more than 60 bits is used as a key")


def _set(elements: Iterable[Any] = ()) -> set[Any]:
    elements = list(elements)
    check_keys(elements)
    return set(elements)


def _frozenset(elements: Iterable[Any] = ()) -> frozenset[Any]:
    return frozenset(_set(elements))


BUILTINS: Mapping[str, Any] = {"builtins.set": _set, "builtins.frozenset": _frozenset, "builtins.slice": slice}


def _first_line(error: Exception) -> str:
    if isinstance(error, EOFError | LookupError | AttributeError | TypeError):  # their words are about the loader
        return "it is damaged or cut short"
    return shortened((str(error).splitlines() or [type(error).__name__])[0], 160)
