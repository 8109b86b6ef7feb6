"""A file of pairs to explain: JSON lines, CSV, TSV or Parquet, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.readers.headers import SYNONYMS, pick
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.placeholders import plain_name
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.errors import DataError


def read_pairs(path: Path, condition: Condition, prepared: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Read user and item as strings, and the columns that the condition says are given: rating (Float64), feature.

    A column is found by its own name, by the name that the run's data had (`prepared`), or by the names that `prepare`
    guesses.

    Raises:
        DataError: the file cannot be read, a needed column is absent, or a needed value is; names the line.
    """
    rows = open_rows(path, BadLines())
    given = [name for name in ("rating", "feature") if getattr(condition, name) == "given"]
    sources = _sources(rows.columns, ["user", "item", *given], prepared or {})
    for name in ("user", "item", *given):
        if name not in sources:
            why = f", as --{name} given needs it; choose predicted or none" if name in given else ""
            raise DataError(f"{path} has no column {name}{why}; found {', '.join(rows.columns)}")
    wanted = ["user", "item", *given]
    pairs = pl.concat([pl.DataFrame(schema=dict.fromkeys([*wanted, LINE], pl.String)), *_batches(rows, sources)])
    if pairs.is_empty():
        raise DataError(f"{path} has no pairs")
    if "rating" in given:
        pairs = pairs.with_columns(pl.col("rating").cast(pl.Float64, strict=False))
    if "feature" in given:  # a row without one states none; a column without any is a mistake
        pairs = pairs.with_columns(pl.col("feature").fill_null(""))
        if (pairs["feature"] == "").all():
            raise DataError(f"{path}: the column feature is empty, and --feature given needs it")
    for name in wanted:
        if pairs[name].null_count():
            line = pairs.filter(pl.col(name).is_null())[LINE][0]
            raise DataError(f"{path}, line {line}: no {name}" + (" that is a number" if name == "rating" else ""))
    return pairs.drop(LINE)


def _sources(found: list[str], wanted: list[str], prepared: Mapping[str, str]) -> dict[str, str]:
    """Return the source column of each wanted column that the file has."""
    sources: dict[str, str] = {}
    for name in wanted:
        free = [column for column in found if column not in sources.values()]
        choices = [column for column in (name, prepared.get(name)) if column in free]
        source = choices[0] if choices else pick(free, SYNONYMS[name])
        if source is not None:
            sources[name] = source
    return sources


def _batches(rows: RowReader, sources: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    for batch in rows.batches(list(dict.fromkeys(sources.values()))):
        # Stripped and composed as `prepare` does, so that the names of one file are those of the other.
        columns = {name: plain_name(batch[source]) for name, source in sources.items()}
        names = pl.DataFrame({**columns, LINE: batch[LINE].cast(pl.String)})
        yield names.with_columns(pl.col("user", "item").replace("", None))
