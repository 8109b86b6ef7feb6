"""Show how a source would be prepared, without writing anything: each column, sample rows, and the command."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.prepare.options import PrepareOptions
from gavamoe.data.prepare.pipeline import ReadSources, read_sources
from gavamoe.data.readers.layouts import NONE, Layout

SAMPLE_ROWS = 3
LIMIT = 200_000
SHOWN = ("user", "item", "rating", "level", "text", "feature", "timestamp", "split")
OPTIONS = ("user", "item", "rating", "text", "feature", "timestamp", "split")


def preview(
    sources: Sequence[Path | str],
    options: PrepareOptions | None = None,
    out: Path | str = "DATA",
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Read the beginning of each source, and describe how it is understood.

    Args:
        sources: files or globs, as for `prepare`.
        options: how to prepare.
        out: the directory that the command names.
        on_rows: called with the number of rows of each batch that was read, for progress.

    Returns:
        sources (each with how its bytes were read and its columns: column, whether it was guessed, share that was
        understood), counts, notes, warnings, sample (rows as prepared) and command.

    Raises:
        DataError: a source cannot be used.
    """
    options = options or PrepareOptions()
    with tempfile.TemporaryDirectory(prefix="gavamoe-dry-run-") as directory:
        lenient = replace(options, skip_bad=sys.maxsize)
        read = read_sources(sources, Path(directory) / "parts", lenient, on_rows, LIMIT)
        sample = _sample(read)
        files = [
            {
                "name": source.reader.path.name,
                "format": source.layout.name,
                "reading": source.reading.to_json(),
                "columns": _columns(source.layout, source.reader.columns, read),
            }
            for source in read.ingested.sources
        ]
        return {
            "dry_run": True,
            "sources": files,
            "rows": read.keys.height,
            "complete": all(count < LIMIT for count in read.keys["file"].value_counts()["count"]),
            "bad lines": read.ingested.bad.count,
            "bad line examples": read.ingested.bad.examples,
            "scale": read.scale.to_json(),
            "notes": read.notes,
            "warnings": read.warnings,
            "sample": sample,
            "command": _command(sources, out, options, [source.layout for source in read.ingested.sources]),
        }


def _columns(layout: Layout, found: Sequence[str], read: ReadSources) -> dict[str, dict[str, Any]]:
    """Describe each review column of a source."""
    stats, rows = read.ingested.stats, max(read.keys.height, 1)
    understood = {
        "user": 1 - stats.anonymous / rows,
        "rating": rows / max(rows + read.ingested.bad.count, 1),
        "text": 1 - stats.empty_texts / rows,
        "timestamp": (rows - read.keys["timestamp"].null_count()) / rows,
    }
    columns: dict[str, dict[str, Any]] = {}
    for column in OPTIONS:
        source = layout.columns.get(column)
        if source is None or source not in found:
            how = {"user": "every review by a reviewer of its own", "item": "the name of the file"}.get(column)
            columns |= {column: {"column": None, "how": how}} if how else {}
            continue
        about: dict[str, Any] = {"column": source, "guessed": column in layout.guessed}
        if column in understood:
            about["share"] = round(max(understood[column], 0.0), 4)
        if column in read.notes:
            about["how"] = read.notes[column]
        columns[column] = about
    return columns


def _sample(read: ReadSources) -> list[dict[str, Any]]:
    """Return the first rows as prepared, without their features and splits, which need all reviews."""
    rows = read.ingested.scan().select(*(name for name in SHOWN if name not in ("level", "split"))).head(SAMPLE_ROWS)
    frame = rows.collect()
    frame = frame.with_columns(
        level=read.scale.to_level(frame["rating"]),
        timestamp=pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S"),
    )
    return frame.select(
        [name for name in SHOWN if name in frame.columns and frame[name].null_count() < len(frame)]
    ).to_dicts()


def _command(sources: Sequence[Path | str], out: Path | str, options: PrepareOptions, layouts: Sequence[Layout]) -> str:
    """Return the `prepare` line that does the same, with every guess written out that all sources share."""
    words = ["gavamoe", "prepare", *map(str, sources), "--out", str(out)]
    read, layout = options.read, layouts[0]
    if len({each.name for each in layouts}) == 1 and layout.name != "table" and not read.columns:
        words += ["--format", layout.name]
    else:
        for column in OPTIONS:
            found = {each.columns.get(column) for each in layouts}
            shared = found.pop() if len(found) == 1 else read.columns.get(column)
            if read.columns.get(column) == NONE:
                words += [f"--{column}-col", NONE]
            elif shared is not None and not (column == "item" and read.item_from_file):
                words += [f"--{column}-col", shared]
    if read.item_from_file:
        words.append("--item-from-file")
    if read.index is not None:
        words += ["--index", str(read.index)]
    if read.header:
        words += ["--columns", ",".join(read.header)]
    if read.encoding:
        words += ["--encoding", read.encoding]
    if read.records:
        words += ["--records", read.records]
    rules = read.rules
    if rules.ratings:
        words += ["--ratings", ",".join(f"{word}={worth:g}" for word, worth in rules.ratings.items())]
    for value in rules.unrated:
        words += ["--unrated", f"{value:g}"]
    for name in rules.anonymous:
        words += ["--anonymous", name]
    if rules.time_format:
        words += ["--time-format", rules.time_format]
    for path in options.items:
        words += ["--items", str(path)]
    if options.item_columns:
        words += ["--item-columns", ",".join(f"{name}={source}" for name, source in options.item_columns.items())]
    if options.scale:
        low, high = options.scale.bounds
        words += ["--scale", f"{low:g}:{high:g}:{(high - low) / max(options.scale.levels - 1, 1):g}"]
    defaults = PrepareOptions()
    for flag, name in (("--split", "split"), ("--seed", "seed"), ("--features", "features"), ("--k-core", "k_core")):
        if getattr(options, name) != getattr(defaults, name):
            words += [flag, str(getattr(options, name))]
    for flag, name in (("--min-words", "min_words"), ("--language", "language"), ("--skip-bad", "skip_bad")):
        if getattr(options, name) != getattr(defaults, name):
            words += [flag, str(getattr(options, name))]
    return shlex.join(words)
