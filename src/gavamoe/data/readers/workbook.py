"""Read sheets of workbooks: xlsx, xlsm, xlsb, xls and ods; needs the extra `excel` (python-calamine)."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from gavamoe.data.readers.containers import BOMB_BYTES, BOMB_RATIO, list_members
from gavamoe.data.readers.inputs import EmptyFileError, InputFile
from gavamoe.data.readers.reading import Reading, shorten_list, shortened
from gavamoe.data.readers.rows import LINE, string_schema
from gavamoe.errors import DataError

BATCH_ROWS = 50_000
OLE = b"\xd0\xcf\x11\xe0"
SAVE = "open it there and save the sheet as CSV UTF-8"


def is_workbook(source: InputFile, start: bytes) -> bool:
    """Return whether a file is a workbook.

    Raises:
        DataError: it is another Office document.
    """
    if start.startswith(OLE):
        return True
    if not start.startswith(b"PK\x03\x04"):
        return False
    with source.open() as stream:
        names = {member.name for member in list_members(stream, "zip", source.place)}
        if not names & {"[Content_Types].xml", "mimetype"}:
            return False
    if any(name.startswith("word/") for name in names):
        raise DataError(f"{source.place} is a Word document: save its table as CSV UTF-8")
    if any(name.startswith("ppt/") for name in names):
        raise DataError(f"{source.place} is a PowerPoint file: save its table as CSV UTF-8")
    return True


def open_sheets(source: InputFile) -> list[SheetReader]:
    """Return a reader for each sheet that has rows.

    Raises:
        DataError: the workbook cannot be read, or the library is not installed.
        EmptyFileError: all sheets are empty.
    """
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise DataError(
            f"{source.place} is an Excel workbook: install its reader with pip install 'gavamoe[excel]', or {SAVE}"
        ) from None
    path = source.on_disk()
    _check_size(source)
    try:
        book = CalamineWorkbook.from_path(str(path))
        sheets = [(name, book.get_sheet_by_name(name).to_python(skip_empty_area=True)) for name in book.sheet_names]
    except Exception as error:  # the library raises errors of several kinds
        raise DataError(
            f"{source.place} is an Office file that cannot be read ({shortened(error, 100)}): {SAVE}"
        ) from None
    filled = [(name, rows) for name, rows in sheets if len(_filled(rows)) > 1]
    if not filled:
        raise EmptyFileError(f"{source.place} is a workbook without rows: expected reviews")
    if source.sheet:
        wanted = [(name, rows) for name, rows in filled if name == source.sheet]
        if not wanted:
            names = shorten_list(name for name, _ in filled)
            raise DataError(f"{source.place} does not exist: the workbook has the sheets {names}")
        return [SheetReader(source, *wanted[0], single=False)]
    return [SheetReader(source, name, rows, single=len(filled) == 1) for name, rows in filled]


class SheetReader:
    """Read a sheet of a workbook; LINE is the row number in the sheet, from 1 for the row of the names.

    Args:
        source: the workbook.
        sheet: the sheet's name.
        rows: the cells.
        single: whether the workbook has no other sheet with rows.
    """

    def __init__(self, source: InputFile, sheet: str, rows: list[list[Any]], single: bool) -> None:
        self.path = source.path if single or source.sheet else source.path / sheet
        self._source = source
        self._sheet = "" if single else sheet
        filled = _filled(rows)
        self._numbers = [number for number, _ in filled[1:]]
        self._rows = [row for _, row in filled[1:]]
        self.columns = [_text(cell) or "_" for cell in filled[0][1]]
        repeated = [name for name, count in Counter(self.columns).items() if count > 1 and name != "_"]
        if repeated:
            raise DataError(
                f"{source.place}: sheet {shortened(sheet, 60)}: the column {shortened(repeated[0], 60)} occurs twice; "
                "name each column once"
            )

    @property
    def reading(self) -> Reading:
        """Return how the sheet was read."""
        member = "/".join(filter(None, (self._source.member, self._sheet)))
        return Reading(
            "workbook",
            containers=(*self._source.containers, "workbook") if self._sheet else self._source.containers,
            member=member,
        )

    def batches(self, wanted: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the wanted columns as strings, with LINE."""
        places = [self.columns.index(name) if name in self.columns else -1 for name in wanted]
        for start in range(0, len(self._rows), BATCH_ROWS):
            rows = self._rows[start : start + BATCH_ROWS]
            cells = [[_text(row[place]) if 0 <= place < len(row) else None for place in places] for row in rows]
            frame = pl.DataFrame(cells, schema=string_schema(wanted), orient="row")
            numbers = self._numbers[start : start + BATCH_ROWS]
            yield frame.with_columns(pl.Series(LINE, numbers, dtype=pl.UInt32))


def _filled(rows: list[list[Any]]) -> list[tuple[int, list[Any]]]:
    """Return (row number, cells) of the rows that are not blank."""
    return [(number, row) for number, row in enumerate(rows, 1) if any(cell not in ("", None) for cell in row)]


def _text(cell: Any) -> str | None:
    """Return a cell as a CSV file would have it; whole numbers without `.0`."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, datetime.datetime | datetime.date):
        return cell.isoformat(sep=" ") if isinstance(cell, datetime.datetime) else cell.isoformat()
    return str(cell).strip()


def _check_size(source: InputFile) -> None:
    """Refuse a workbook that states far more data than its size: its sheets are read into memory."""
    if source.start(4).startswith(OLE):
        return
    with source.open() as stream:
        stated = sum(member.size for member in list_members(stream, "zip", source.place))
    if stated > 4 * BOMB_BYTES:
        raise DataError(
            f"{source.place} is a workbook of {stated >> 20:,} MiB unpacked (limit {4 * BOMB_BYTES >> 20:,} MiB, ratio "
            f"{BOMB_RATIO}): {SAVE}"
        )
