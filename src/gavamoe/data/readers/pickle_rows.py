"""Read the pickles of published datasets: PETER/PEPLER `reviews.pickle` with index files, and the frames of XRec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.readers.inputs import EmptyFileError, InputFile
from gavamoe.data.readers.pandas_pickle import load_frame
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, string_schema
from gavamoe.data.readers.safe_unpickle import most_cells, most_characters
from gavamoe.errors import DataError

BATCH_ROWS = 100_000
MAX_DEPTH = 20  # of nested values
# The parts of `template` in a PETER record.
TEMPLATE = ("feature", "opinion", "sentence", "sentiment")
INDEX_FILES = {"train": "train.index", "valid": "validation.index", "test": "test.index"}
XREC_SPLITS = {"trn": "train", "val": "valid", "tst": "test"}


class PickleReader:
    """Read a pickled list of records or a pickled frame; `line` is the record number.

    PETER/PEPLER records get the columns feature, opinion, sentence and sentiment from their template, and `split`
    from the index files. XRec frames contain only liked pairs: they get the rating 1, and `split` from the file name.

    Args:
        source: the file.
        index: the directory of the index files; None to use the first one beside the file, if there is one.

    Raises:
        DataError: the pickle contains something else, or an index file is wrong.
        EmptyFileError: the list has no records.
    """

    def __init__(self, source: InputFile, index: Path | None = None) -> None:
        self.path = path = source.path
        self._source = source
        self._left = most_characters(source)
        value = load_frame(source)
        if value == []:
            raise EmptyFileError(f"{path} has no reviews")
        if isinstance(value, list) and value and all(isinstance(record, dict) for record in value):
            self._values = _columns_of_records(value, most_cells(source), source.place)
            self._add_index(index or _index_beside(path), len(value))
        elif isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
            self._values = {str(name): column for name, column in value.items()}
            self._add_xrec_columns()
        else:
            raise DataError(
                f"{path}: expected a pickled list of review dicts, or a data frame; found {_describe(value)}"
            )
        self.columns = list(self._values)

    @property
    def reading(self) -> Reading:
        """Return how the file was read."""
        source = self._source
        return Reading("pickle", containers=source.containers, member=source.member)

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with `line`, the record number from 1."""
        total = len(next(iter(self._values.values())))
        for start in range(0, total, BATCH_ROWS):
            stop = min(start + BATCH_ROWS, total)
            data = {name: self._texts(name, self._values.get(name, [None] * total), start, stop) for name in wanted}
            frame = pl.DataFrame(data, schema=string_schema(wanted))
            yield frame.with_columns(pl.int_range(start + 1, stop + 1, dtype=pl.UInt32).alias(LINE))

    def _texts(self, name: str, values: Sequence[Any], start: int, stop: int) -> list[str | None]:
        """Return a column's values as text.

        Raises:
            DataError: a value is bytes that are no UTF-8, or an object without a text, such as an array.
        """
        texts: list[str | None] = []
        for number, value in enumerate(values[start:stop], start=start + 1):
            try:
                is_short_text = type(value) is str and len(value) < self._left  # the usual case, without a call
                self._left -= len(value) if is_short_text else _extent(value, self._left)
                texts.append(value if is_short_text else _text(value))
            except ValueError as error:
                raise DataError(
                    f"{self.path}: column {name} of record {number} is {error}, not a text or a number; write the "
                    "column as text"
                ) from None
        return texts

    def _add_index(self, directory: Path | None, total: int) -> None:
        """Add the column `split` from the index files, which list the record numbers of each split."""
        if directory is None:
            return
        split: list[str | None] = [None] * total
        for name, file in INDEX_FILES.items():
            for number in _read_index(directory / file, total):
                if split[number] is not None:
                    raise DataError(f"{directory / file}: record {number} is also in the {split[number]} index")
                split[number] = name
        self._values["split"] = split

    def _add_xrec_columns(self) -> None:
        """Add the rating and the split that an XRec frame implies."""
        total = len(next(iter(self._values.values())))
        if {"uid", "iid", "explanation"} <= self._values.keys() and "rating" not in self._values:
            self._values["rating"] = ["1"] * total
        split = XREC_SPLITS.get(self.path.name.partition(".")[0])
        if split and "split" not in self._values:
            self._values["split"] = [split] * total


def _columns_of_records(records: list[dict[Any, Any]], most: int, place: str) -> dict[str, list[Any]]:
    """Transpose records to columns, and split `template` into its parts.

    Args:
        records: the records.
        most: how many cells the columns may have.
        place: the file, for messages.
    """
    if sum(map(len, records)) > most:
        raise DataError(f"{place} repeats the same records again and again: write each review once")
    names = dict.fromkeys(name for record in records for name in record)
    if len(names) * len(records) > most:
        raise DataError(f"{place} has {len(names):,} different fields: give the reviews the same fields")
    columns = {str(name): [record.get(name) for record in records] for name in names}
    templates = columns.pop("template", None)
    if templates:
        for position, name in enumerate(TEMPLATE):
            columns[name] = [
                template[position] if isinstance(template, list | tuple) and position < len(template) else None
                for template in templates
            ]
    return columns


def _index_beside(path: Path) -> Path | None:
    """Return the first directory of index files beside the pickle (1 of 1..5), None if there is none."""
    found = [file.parent for pattern in ("*/train.index", "index/*/train.index") for file in path.parent.glob(pattern)]
    return min(found, key=lambda directory: (len(directory.name), directory.name), default=None)


def _read_index(path: Path, total: int) -> list[int]:
    """Read the record numbers of an index file, and check that each record exists."""
    try:
        numbers = [int(number) for number in path.read_text(encoding="utf-8").split()]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; expected the {path.name} of a PEPLER split"
        ) from error
    except ValueError:
        raise DataError(f"{path}: expected record numbers separated by spaces") from None
    wrong = next((number for number in numbers if not 0 <= number < total), None)
    if wrong is not None:
        raise DataError(f"{path}: record {wrong} does not exist: the pickle has {total} records, numbered from 0")
    return numbers


def _text(value: Any) -> str | None:
    """Return a value as text, None if it is missing; `ValueError` says what a value without a text is."""
    if isinstance(value, bytes | bytearray):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError("bytes that are not UTF-8") from None
    return None if value is None or value != value else str(value)


def _extent(value: Any, most: int, depth: int = 0) -> int:
    """Return about how many characters a value has as text.

    Args:
        value: any value of a pickle.
        most: how many characters it may have.
        depth: how deep the value is nested in another.

    Raises:
        ValueError: it has more characters, is nested deeply, or holds an object without a text; the message says what
            the value is.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} times")
    extent = len(value) if isinstance(value, str | bytes | bytearray) else 1
    if isinstance(value, list | tuple | set | frozenset | dict):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            extent += _extent(item, most - extent, depth + 1)
    elif _has_default_text(type(value)):
        raise ValueError(f"an object ({type(value).__name__.strip('_').lower()})")
    if extent > most:
        raise ValueError("far longer than the file, because it repeats parts of it")
    return extent


def _has_default_text(kind: Any) -> bool:  # Any: mypy knows that the methods of a class differ in type
    """Return whether the text of a class's values is their address in memory."""
    return kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__


def _describe(value: Any) -> str:
    """Name the type of a value for a message."""
    return f"an empty {type(value).__name__}" if value in ([], {}, ()) else f"a {type(value).__name__}"
