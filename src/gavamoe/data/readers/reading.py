"""How a file was read: its containers, encoding and format, for messages and the data card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LONGEST_MESSAGE = 400
SHOWN_MEMBERS = 5


@dataclass(frozen=True)
class Reading:
    """How a file was read.

    Args:
        format: the format of the table, such as `csv`, `json lines` or `parquet`.
        encoding: the encoding of a text file, as Python names it; empty for binary formats.
        encoding_from: where the encoding comes from: `utf-8` (valid as it is), `mark` (byte order mark), `bytes` (the
            pattern of NUL bytes), `named` (by the user) or `guessed`.
        containers: archives and compressions around the table, the outermost first.
        member: the name of the table in its archive or workbook; empty if it is the file itself.
        passed_over: tables of the same archive that were not read.
        records: the path of the list of records inside a JSON document; empty if the records are not inside another.
        records_named: whether the user named that path.
        notes: further properties of the file, such as `lines end with CR`.
    """

    format: str
    encoding: str = ""
    encoding_from: str = ""
    containers: tuple[str, ...] = ()
    member: str = ""
    passed_over: tuple[str, ...] = ()
    records: str = ""
    records_named: bool = False
    notes: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Return what a user should know: guesses and choices; nothing for a plain UTF-8 file."""
        said = []
        if self.member:
            said.append(f"table {shortened(self.member)} of {' in '.join(reversed(self.containers)) or 'the file'}")
        if self.passed_over:
            said.append(f"passed over: {shorten_list(self.passed_over)}")
        if self.encoding_from == "guessed":
            said.append(f"read as {self.encoding} (guessed; --encoding says otherwise)")
        elif self.encoding_from in ("mark", "bytes") and self.encoding != "utf-8":
            said.append(f"read as {self.encoding}")
        if self.records and not self.records_named:
            said.append(f"records at {shortened(self.records)} (guessed; --records says otherwise)")
        return [*said, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return the properties as JSON values, for card.json."""
        return {
            "format": self.format,
            "encoding": self.encoding or None,
            "encoding_from": self.encoding_from or None,
            "containers": list(self.containers),
            "member": self.member or None,
            "passed_over": list(self.passed_over),
            "records": self.records or None,
            "notes": list(self.notes),
            "said": self.describe(),
        }


def shortened(text: object, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text for a message: control characters become `?`, and what is too long is cut in the middle."""
    shown = "".join(character if character.isprintable() else "?" for character in str(text)[: 4 * longest])
    if len(str(text)) <= longest:
        return shown
    return f"{shown[: longest // 2]} ... {str(text)[-1] if str(text)[-1].isprintable() else ''}"


def shorten_list(names: Iterable[str], most: int = SHOWN_MEMBERS) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(shortened(name, 80) for name in names[:most]) + more
