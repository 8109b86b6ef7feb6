"""Rebuild pickled pandas frames without pandas: stand-in classes record the arguments and states in the pickle.

NumPy's names get stand-ins too: a forged array type in a pickle could make raw bytes pass for Python objects.

A frame is a list of blocks, each a [columns, rows] array with the positions of its columns. Both formats are read:
blocks as arguments of the block manager (pandas 1.3 and later), and blocks in its state (earlier versions).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gavamoe.data.readers.inputs import InputFile
from gavamoe.data.readers.safe_unpickle import load_pickle, most_cells
from gavamoe.errors import DataError

# The array types of frame columns: booleans, numbers, fixed-width strings, times and objects.
PLAIN_TYPE = re.compile(r"[biufSUMm][0-9]+|O[0-9]*")
TIME_UNIT = re.compile(r"[A-Za-z]+")


class _Recorded:
    """Stand-in for a pandas class: records its arguments and its state."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any) -> _Recorded:
        self = super().__new__(cls)
        self.args = args
        return self

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Recorded):
    """Stand-in for pandas.DataFrame."""


class _Manager(_Recorded):
    """Stand-in for the block manager of a frame."""


class _Index(_Recorded):
    """Stand-in for an index: row or column labels."""


class _Strings(_Recorded):
    """Stand-in for a string column (pandas 3), whose state contains the array."""

    def array(self) -> _Array:
        return next(part for part in self.state if isinstance(part, _Array))


class _Dtype(_Recorded):
    """Stand-in for a NumPy type; only plain types are read, since fields could hide objects among raw bytes."""

    def __setstate__(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):  # a subarray, names, fields
            raise ValueError("an array of records is not read")
        self.state = state

    def plain(self) -> np.dtype:
        """Return the type, built only from its validated text."""
        text, order = str(self.args[0]), self.state[1] if self.state else "="
        if not PLAIN_TYPE.fullmatch(text) or order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of type {text[:40]!r} is not read")
        unit = ""
        if text[0] in "Mm" and len(self.state or ()) > 8:
            name, count = self.state[8][1][:2]
            if not isinstance(name, str) or not TIME_UNIT.fullmatch(name):
                raise ValueError("an array of times in an unknown unit is not read")
            unit = f"[{int(count)}{name}]"
        return np.dtype(object) if text[0] == "O" else np.dtype(f"{order}{text}{unit}")


class _Array(_Recorded):
    """Stand-in for a NumPy array; `values` is set when the pickle supplies the state."""

    values: np.ndarray = np.empty(0, dtype=object)

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, by_columns, content = state
        if isinstance(content, list):
            self.values = _objects(content, dtype).reshape(shape)
        else:
            content = content.encode("latin1") if isinstance(content, str) else content
            self.values = _numbers(content, dtype).reshape(shape, order="F" if by_columns else "C")


def _objects(content: list[Any], dtype: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or dtype.plain() != np.dtype(object):
        raise ValueError("an array of plain values is not given as a list")
    return np.fromiter(content, dtype=object, count=len(content))


def _numbers(content: Any, dtype: Any) -> np.ndarray:
    """Read values from raw bytes; object arrays are refused, since bytes used as pointers would crash the process."""
    if not isinstance(dtype, _Dtype) or dtype.plain() == np.dtype(object):
        raise ValueError("an array of objects is not given as bytes")
    return np.frombuffer(content, dtype=dtype.plain())


# Stand-ins for the functions that a pickle of a frame calls.


def _new_index(_: Any, state: dict[str, Any]) -> _Index:
    index = _Index()
    index.state = state
    return index


def _new_array_of_strings(_: Any, checksum: int, state: Any) -> _Strings:
    strings = _Strings()
    strings.state = state
    return strings


def _block(values: Any, positions: Any, *_: Any) -> tuple[Any, Any]:
    return values, positions


def _new_array(*_: Any) -> _Array:
    """Return an empty array, whatever size the pickle names: the state that follows supplies shape and values."""
    return _Array()


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode(encoding if encoding == "latin1" else "utf-8")


def _array_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
    array = _Array()
    array.values = _numbers(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")
    return array


STAND_INS: Mapping[str, Any] = {
    "pandas.core.frame.DataFrame": _Frame,
    "pandas.DataFrame": _Frame,
    "pandas.core.internals.managers.BlockManager": _Manager,
    "pandas._libs.internals._unpickle_block": _block,
    "pandas.core.internals.blocks.new_block": _block,
    "pandas.core.indexes.base._new_Index": _new_index,
    **{
        f"pandas.core.indexes.{name}": _Index
        for name in ("base.Index", "range.RangeIndex", "numeric.Int64Index", "numeric.UInt64Index")
    },
    **{f"pandas.{name}": _Index for name in ("Index", "RangeIndex")},
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": _new_array_of_strings,
    "pandas.arrays.StringArray": _Strings,
    "pandas.StringDtype": _Recorded,
    "pandas.core.arrays.string_.StringDtype": _Recorded,
    "_codecs.encode": _bytes,
    "numpy.ndarray": _Recorded,
    "numpy.dtype": _Dtype,
    **{f"numpy.{core}.multiarray._reconstruct": _new_array for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array_from_buffer for core in ("core", "_core")},
}


def load_frame(source: InputFile | Path) -> Any:
    """Load a pickle of plain values or of a pandas frame.

    Args:
        source: the file.

    Returns:
        A frame as a dict of columns (lists); plain values as they are.

    Raises:
        DataError: the pickle names anything else, or the frame's format is unknown.
    """
    value = load_pickle(source, STAND_INS)
    if not isinstance(value, _Recorded):
        return value
    try:
        return _columns(value, most_cells(source))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        place = source.place if isinstance(source, InputFile) else source
        raise DataError(f"{place}: the pickled pandas frame is of an unknown version: {error}") from error


def _columns(frame: _Recorded, most: int) -> dict[str, list[Any]]:
    """Return the columns of a recorded frame, in the frame's order.

    Args:
        frame: the frame.
        most: how many cells it may have.
    """
    manager = frame.state["_mgr"] if "_mgr" in frame.state else frame.state["_data"]
    if manager.args:
        blocks, axes = manager.args[0], manager.args[1]
    else:
        state = manager.state[-1]["0.14.1"]
        axes, blocks = state["axes"], [(block["values"], block["mgr_locs"]) for block in state["blocks"]]
    labels = axes[0].state["data"]
    names = [str(name) for name in _plain(labels)]
    columns: dict[str, list[Any]] = {}
    cells = 0
    for values, positions in blocks:
        rows = np.atleast_2d(_plain(values))
        cells += rows.size
        if cells > most:
            raise ValueError("its blocks share their values")
        for row, position in zip(rows, np.atleast_1d(np.arange(len(names))[_plain(positions)]), strict=True):
            columns[names[position]] = row.tolist()
    return {name: columns[name] for name in names}


def _plain(value: Any) -> Any:
    """Return the array of a stand-in; any other value, such as a slice, is returned unchanged."""
    value = value.array() if isinstance(value, _Strings) else value
    return value.values if isinstance(value, _Array) else value
