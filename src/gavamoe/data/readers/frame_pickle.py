"""Pickled pandas frames, rebuilt without pandas: stand-ins record what the pickle says, and the columns are read off.

A frame is a list of blocks, each a [columns, rows] array with the places of its columns. Both ways of writing it are
understood: blocks as arguments of the manager (pandas 1.3 and later), and blocks in its state (before).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gavamoe.data.readers.pickles import load_pickle
from gavamoe.errors import DataError


class _Recorded:
    """Stands for a pandas class: keeps the arguments and the state it is given."""

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
    pass


class _Manager(_Recorded):
    pass


class _Index(_Recorded):
    pass


class _Strings(_Recorded):
    """Stands for a column of strings (pandas 3): its state holds the array."""

    def array(self) -> np.ndarray:
        return next(part for part in self.state if isinstance(part, np.ndarray))


def _new_index(_: Any, state: dict[str, Any]) -> _Index:
    index = _Index()
    index.state = state
    return index


def _new_array_of_strings(_: Any, checksum: int, state: Any) -> _Strings:
    strings = _Strings()
    strings.state = state
    return strings


def _block(values: np.ndarray, places: Any, *_: Any) -> tuple[np.ndarray, Any]:
    return values, places


def _new_array(*_: Any) -> np.ndarray:
    """Start empty whatever size is asked for: the state that follows brings shape and values."""
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode(encoding if encoding == "latin1" else "utf-8")


def _array_from_buffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: str, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


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
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{f"numpy.{core}.multiarray._reconstruct": _new_array for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array_from_buffer for core in ("core", "_core")},
}


def load_frame(path: Path) -> Any:
    """Load a pickle; a pandas frame in it comes back as a dict of columns (lists), plain values as they are.

    Raises:
        DataError: the pickle holds anything else, which is refused by name.
    """
    value = load_pickle(path, STAND_INS)
    if not isinstance(value, _Recorded):
        return value
    try:
        return _columns(value)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{path}: the pickled pandas frame is of a version that is not known: {error}") from error


def _columns(frame: _Recorded) -> dict[str, list[Any]]:
    manager = frame.state["_mgr"] if "_mgr" in frame.state else frame.state["_data"]
    if manager.args:
        blocks, axes = manager.args[0], manager.args[1]
    else:
        state = manager.state[-1]["0.14.1"]
        axes, blocks = state["axes"], [(block["values"], block["mgr_locs"]) for block in state["blocks"]]
    labels = axes[0].state["data"]
    names = [str(name) for name in (labels.array() if isinstance(labels, _Strings) else labels)]
    columns: dict[str, list[Any]] = {}
    for values, places in blocks:
        rows = np.atleast_2d(values.array() if isinstance(values, _Strings) else values)
        for row, place in zip(rows, np.atleast_1d(np.arange(len(names))[places]), strict=True):
            columns[names[place]] = row.tolist()
    return {name: columns[name] for name in names}
