"""How the files of a prepared dataset were read, so that a run reads files of the same columns in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gavamoe.data.readers.canonical import ReadRules
from gavamoe.data.readers.formats import ReadOptions
from gavamoe.data.readers.layouts import NONE


@dataclass(frozen=True)
class PreparedColumns:
    """How the files of a prepared dataset were read.

    Args:
        columns: source column of each review column; empty if unknown. A missing user or item means what it means in
            `Layout`.
        rules: what the user said about the values.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    rules: ReadRules = field(default_factory=ReadRules)

    def options(self, found: Sequence[str], given: ReadOptions) -> ReadOptions:
        """Return how to read a file.

        Args:
            found: the columns of the file. If the item and the rating of the dataset are among them, each column is
                what it was in the dataset.
            given: the other options, such as the encoding.
        """
        given = replace(given, rules=self.rules, prepares=False)
        if not all(self.columns.get(column, "") in found for column in ("item", "rating") if column in self.columns):
            return given
        named = {column: source for column, source in self.columns.items() if source in found}
        if self.columns and "user" not in self.columns:
            named["user"] = NONE
        if self.columns and "text" not in self.columns and "text" not in found:
            named["text"] = NONE
        return replace(given, columns=named, item_from_file=bool(self.columns) and "item" not in self.columns)
