"""Read and check (user, item) pairs to explain: a file of any format that `prepare` reads, or a directory of files.

path --pair_files--> files --_read_file--> rows of each --> read_pairs: all rows in the order of the files
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.readers.headers import SYNONYMS, pick
from gavamoe.data.readers.inputs import EmptyFileError, sha256_of_input
from gavamoe.data.readers.open import open_rows
from gavamoe.data.readers.placeholders import plain_name
from gavamoe.data.readers.reading import Reading
from gavamoe.data.readers.rows import LINE, BadLines, RowReader
from gavamoe.data.scale import RatingOutOfRangeError, RatingScale
from gavamoe.errors import DataError


def read_pairs(
    path: Path,
    condition: Condition,
    scale: RatingScale,
    encoding: str | None = None,
    records: str | None = None,
    on_reading: Callable[[Reading], None] | None = None,
    prepared: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Read the pairs, and the columns whose condition is "given".

    A column is found by its own name, by the name that it has in the run's data, or by the names that `prepare`
    recognises.

    Args:
        path: a file of any format, with columns user and item, and rating or feature where the condition needs them;
            or a directory of such files (`pair_files`), of which some may be empty.
        condition: what the prompt contains.
        scale: the rating scale that given ratings must be on.
        encoding: the encoding of a text file; None to detect it.
        records: the path of the records inside a JSON document; None to find it.
        on_reading: called with how the file was read, to print what was guessed.
        prepared: source column of each review column in the run's data.

    Returns:
        One row per pair: user and item (strings), and where given rating (Float64) and feature ("" in a row without).

    Raises:
        DataError: the file cannot be read, or lacks a column or a value that is needed; the message names the line.
    """
    frames = []
    for file in pair_files(path):
        try:
            frames.append(_read_file(file, condition, scale, encoding, records, on_reading, prepared or {}))
        except EmptyFileError:
            if file == path:
                raise
    pairs = pl.concat(frames) if frames else pl.DataFrame()
    if pairs.is_empty():
        raise DataError(f"{path} has no pairs")
    if condition.feature == "given" and (pairs["feature"] == "").all():
        raise DataError(f"{path}: the column feature is empty, and --feature given needs it")
    return pairs


def pair_files(path: Path) -> list[Path]:
    """Return the files of a directory in the order of their names; a path that is no directory itself.

    Names that begin with a dot or an underscore are ignored: Spark and Ray write notes under such names.

    Raises:
        DataError: the directory has no file.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        raise DataError(f"{path} is a directory without files; name a file of pairs, or a directory of such files")
    return files


def sha256_of_pairs(path: Path) -> str:
    """Return the SHA-256 of a file of pairs; for a directory, that of the checksums of its files in their order."""
    checksums = [sha256_of_input(file) for file in pair_files(path)]
    return hashlib.sha256("".join(checksums).encode()).hexdigest() if path.is_dir() else checksums[0]


def _read_file(
    path: Path,
    condition: Condition,
    scale: RatingScale,
    encoding: str | None,
    records: str | None,
    on_reading: Callable[[Reading], None] | None,
    prepared: Mapping[str, str],
) -> pl.DataFrame:
    """Return the rows of one file, as `read_pairs` does; there may be none."""
    rows = open_rows(path, BadLines(), encoding=encoding, records=records)
    given = [name for name in ("rating", "feature") if getattr(condition, name) == "given"]
    wanted = ["user", "item", *given]
    sources = source_columns(rows.columns, wanted, prepared)
    for name in wanted:
        if name not in sources:
            why = f", as --{name} given needs it; choose predicted or none" if name in given else ""
            raise DataError(f"{path} has no column {name}{why}; found {', '.join(rows.columns)}")
    pairs = pl.concat([pl.DataFrame(schema=dict.fromkeys([*wanted, LINE], pl.String)), *name_batches(rows, sources)])
    if on_reading:
        on_reading(rows.reading)
    if "rating" in given:
        pairs = pairs.with_columns(pl.col("rating").cast(pl.Float64, strict=False))
    if "feature" in given:  # a row may lack a feature; a column without any value is an error
        pairs = pairs.with_columns(pl.col("feature").fill_null(""))
    check_complete(pairs, wanted, path)
    if "rating" in given:
        _check_ratings(pairs, scale, path)
    return pairs.drop(LINE)


def check_complete(rows: pl.DataFrame, wanted: Sequence[str], path: Path) -> None:
    """Raise `DataError` with the line of the first row that lacks a value of a wanted column."""
    incomplete = rows.filter(pl.any_horizontal(pl.col(name).is_null() for name in wanted))
    if not incomplete.is_empty():
        first = incomplete.row(0, named=True)
        name = next(name for name in wanted if first[name] is None)
        raise DataError(f"{path}, line {first[LINE]}: no {name}" + (" that is a number" if name == "rating" else ""))


def _check_ratings(pairs: pl.DataFrame, scale: RatingScale, path: Path) -> None:
    """Raise `DataError` with the line if a rating is not a level of the scale."""
    try:
        scale.to_level(pairs["rating"])
    except RatingOutOfRangeError as error:
        line, problem = pairs[LINE][error.row], error.problem(error.row)
        raise DataError(f"{path}, line {line}: {problem}, the scale this run was trained on") from None


def source_columns(found: list[str], wanted: list[str], prepared: Mapping[str, str]) -> dict[str, str]:
    """Return the source column of each wanted column that the file has."""
    sources: dict[str, str] = {}
    for name in wanted:
        free = [column for column in found if column not in sources.values()]
        choices = [column for column in (name, prepared.get(name)) if column in free]
        source = choices[0] if choices else pick(free, SYNONYMS[name])
        if source is not None:
            sources[name] = source
    return sources


def name_batches(rows: RowReader, sources: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Yield the wanted columns and the line numbers as strings; a blank user or item is null."""
    for batch in rows.batches(list(dict.fromkeys(sources.values()))):
        # Names are stripped and composed as in `prepare`, so that they match.
        columns = {name: plain_name(batch[source]) for name, source in sources.items()}
        found = pl.DataFrame({**columns, LINE: batch[LINE].cast(pl.String)})
        yield found.with_columns(pl.col(name).replace("", None) for name in ("user", "item") if name in columns)
