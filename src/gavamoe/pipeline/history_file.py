"""Read rated items of users whom a run does not know: a file of any format that `prepare` reads.

    rows (item, rating, user?, text?) --read_history_file--> HistoryFile --of_user, of_pairs--> UserHistory

Without a column of users, all rows are one user's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.reading import shorten_list, shortened
from gavamoe.data.readers.rows import LINE, BadLines
from gavamoe.errors import DataError, InputError
from gavamoe.files import sha256_of_file
from gavamoe.pipeline.pairs_file import check_complete, name_batches, source_columns
from gavamoe.preference.history import UserHistory

COLUMNS = ("user", "item", "rating", "text")
Histories = Sequence[UserHistory | None] | None  # of pairs; None where no pair has one


@dataclass(frozen=True)
class HistoryFile:
    """The histories of a file.

    Args:
        path: the file.
        sha256: of the file.
        by_user: history by name of the user; the key is None if the file has no column of users.
        note: called with lines for a person: how many ratings are used, and what is ignored.
    """

    path: Path
    sha256: str
    by_user: Mapping[str | None, UserHistory]
    note: Callable[[str], None]

    def of_user(self, user: str | None) -> tuple[str | None, UserHistory]:
        """Return the name and the history of one user.

        Args:
            user: the name; None for the only user of the file.

        Raises:
            InputError: the file has several users and `user` is None, or none of that name.
            DataError: the run knows none of the user's items.
        """
        if None in self.by_user:
            name, history = user, self.by_user[None]
        elif user is None and len(self.by_user) > 1:
            raise InputError(f"{self.path} has {len(self.by_user):,} users ({self._names}); say which one with --user")
        else:
            name = next(iter(self.by_user)) if user is None else user
            if name not in self.by_user:
                raise InputError(f"{self.path} has no rating by user '{shortened(name)}'; it has {self._names}")
            history = self.by_user[name]
        if not history.rated:
            raise DataError(f"{self.path}: none of the rated items has a training review; check the column item")
        self._describe([history])
        return name, history

    def of_pairs(self, users: pl.Series) -> list[UserHistory | None]:
        """Return the history of each pair's user; None for a user who has none in the file.

        Raises:
            InputError: the file has no column of users, and the pairs have several.
        """
        if None not in self.by_user:
            histories = [self.by_user.get(user) for user in users]
            self._describe(histories)
            return histories
        if users.n_unique() > 1:
            raise InputError(f"{self.path} has no column user, and the pairs have {users.n_unique():,} users; add one")
        return [self.of_user(None)[1]] * len(users)

    def _describe(self, histories: Sequence[UserHistory | None]) -> None:
        used = list({id(history): history for history in histories if history is not None}.values())
        ratings = sum(len(history.rated) for history in used)
        self.note(f"{self.path}: {_count(ratings, 'rating')} of {_count(len(used), 'user')} used")
        ignored = list(dict.fromkeys(name for history in used for name in history.ignored))
        if ignored:
            items = _count(len(ignored), "item")
            self.note(f"{self.path}: {items} without a training review ignored: {shorten_list(ignored)}")
        empty = sum(not history.rated for history in used)
        if empty:
            self.note(f"{self.path}: {_count(empty, 'user')} without a known item, treated as unknown")

    @property
    def _names(self) -> str:
        return shorten_list(str(user) for user in self.by_user)


def read_history_file(
    path: Path,
    catalog: Catalog,
    encoding: str | None = None,
    records: str | None = None,
    note: Callable[[str], None] = lambda line: None,
) -> HistoryFile:
    """Read the histories of a file; columns are found as in `read_pairs`.

    Args:
        path: a file of any format, with columns item and rating, user where it has several users, and perhaps text.
        catalog: names, rating scale and column names of the run.
        encoding: the encoding of a text file; None to detect it.
        records: the path of the records inside a JSON document; None to find it.
        note: called with lines for a person: what was guessed, and later what is used.

    Raises:
        DataError: the file cannot be read, or lacks a column or a value; the message names the line.
    """
    rows = open_rows(path, BadLines(), encoding=encoding, records=records)
    sources = source_columns(rows.columns, list(COLUMNS), catalog.columns)
    for name in ("item", "rating"):
        if name not in sources:
            raise DataError(f"{path} has no column {name}, and a history needs it; found {', '.join(rows.columns)}")
    wanted = [name for name in COLUMNS if name in sources]
    ratings = pl.concat([pl.DataFrame(schema=dict.fromkeys([*wanted, LINE], pl.String)), *name_batches(rows, sources)])
    if ratings.is_empty():
        raise DataError(f"{path} has no ratings")
    if guessed := rows.reading.describe():
        note(f"{path}: {'; '.join(guessed)}")
    ratings = ratings.with_columns(pl.col("rating").cast(pl.Float64, strict=False).fill_nan(None))
    check_complete(ratings, [name for name in wanted if name != "text"], path)
    _check_scale(ratings, catalog, path)
    users: Mapping[tuple[object, ...], pl.DataFrame] = {(None,): ratings}
    if "user" in wanted:
        users = ratings.partition_by("user", as_dict=True, maintain_order=True)
    by_user = {name if name is None else str(name): _history(own, catalog) for (name,), own in users.items()}
    return HistoryFile(path, sha256_of_file(path), by_user, note)


def _check_scale(ratings: pl.DataFrame, catalog: Catalog, path: Path) -> None:
    """Raise `DataError` with the line of the first rating off the scale."""
    wrong = ratings.filter(~pl.col("rating").is_between(*catalog.scale.bounds))
    if len(wrong):
        line, rating = wrong[LINE][0], wrong["rating"][0]
        raise DataError(
            f"{path}, line {line}: rating {rating:g} is off {catalog.scale}, the scale that this run was trained on"
        )


def _history(ratings: pl.DataFrame, catalog: Catalog) -> UserHistory:
    """Return the history of one user's rows; it may have no item that the run knows."""
    texts = ratings["text"].to_list() if "text" in ratings.columns else []
    return UserHistory.from_columns(ratings["item"].to_list(), ratings["rating"], texts, catalog)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")
