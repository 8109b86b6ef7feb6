"""Prepare a dataset from review files, in passes that never hold all the texts in memory.

ingest    every source file, batch by batch -> typed rows in Parquet parts
assign    users, items, ratings and times only, a few bytes per row -> kept rows, splits, ids, levels
annotate  the training texts -> features
write     the parts joined with their assignment, streamed -> interactions.parquet, then the data card
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from gavamoe.data.dataset import FILES, SPLITS
from gavamoe.data.items import ITEM_SCHEMA, check_metadata, find_sidecar_metadata, read_items, read_sidecar_metadata
from gavamoe.data.prepare.annotate import AnnotateParts, annotate_here, choose_features
from gavamoe.data.prepare.assign import Assignment, assign_rows
from gavamoe.data.prepare.card import make_card
from gavamoe.data.prepare.card_page import write_card_page
from gavamoe.data.prepare.filters import filter_texts
from gavamoe.data.prepare.ingest import FILE, Ingested, ReadParts, ingest
from gavamoe.data.prepare.options import PrepareOptions
from gavamoe.data.prepare.splits import TEST, TRAIN, VALID
from gavamoe.data.prepare.suspicions import find_suspicions
from gavamoe.data.readers.canonical import UNSETTLED, settle
from gavamoe.data.readers.formats import refuse_unused_options
from gavamoe.data.readers.layouts import HOTEL_NAME
from gavamoe.data.readers.open import YES_AMONG_NUMBERS, Sources, expand_sources, open_sources
from gavamoe.data.readers.rows import LINE, BadLines
from gavamoe.data.scale import RatingOutOfRangeError, RatingScale
from gavamoe.errors import DataError
from gavamoe.features.sentences import ANNOTATED_SCHEMA
from gavamoe.files import real_path, staged_directory, write_json
from gavamoe.seal import check_replace, write_seal

INTERACTIONS = {
    "user": pl.String(),
    "item": pl.String(),
    "user_id": pl.Int32(),
    "item_id": pl.Int32(),
    "rating": pl.Float32(),
    "level": pl.Int8(),
    **ANNOTATED_SCHEMA,
    "timestamp": pl.Int64(),
    "split": pl.String(),
}
# Level 1 of zstd is a third faster than the default level 3, and its files are a tenth larger.
COMPRESSION_LEVEL = 1
# The files of a dataset that was prepared before datasets had a manifest.
UNSEALED = (*FILES, "card.md", "lengths.png", "ratings.png", "sparsity.png")
TIED_SHARE = 0.5  # so many of the test reviews with the time of a training review are worth a warning
KEYS = ("user", "item", "rating", "timestamp", "split", FILE, LINE)


def prepare(
    sources: Sequence[Path | str],
    out: Path | str,
    options: PrepareOptions | None = None,
    on_rows: Callable[[int], None] | None = None,
    engine: PrepareEngine | None = None,
) -> dict[str, Any]:
    """Write a prepared dataset; if a step fails, nothing is written and an existing dataset is kept.

    Args:
        sources: files or globs of reviews, and of item metadata, which is recognised by its columns.
        out: the dataset's directory; an existing dataset there is replaced.
        options: how to prepare.
        on_rows: called with the number of rows of each batch that was read, for progress.
        engine: where sources are read and reviews are annotated; None is this process.

    Returns:
        The data card, as written to card.json.

    Raises:
        DataError: a source cannot be used or lies in `out`, or `out` holds anything but a prepared dataset.
    """
    options, engine = options or PrepareOptions(), engine or PrepareEngine()
    out = Path(out)
    _check_out(out, sources)
    with _report_full_disk(out), staged_directory(real_path(out)) as staged:
        read = read_sources(sources, staged / "parts", options, on_rows, read_parts=engine.read)
        ingested, scale = read.ingested, read.scale
        text_filters = filter_texts(ingested, options.min_words, options.language)
        assignment = assign_rows(
            read.keys, scale, options, text_filters, ingested.stats.first_unparsed_time, read.ambiguous_time
        )
        _note_split(read, assignment, options.split)
        read.keys = read.keys.clear()
        features = choose_features(ingested, assignment, options.features)
        _write_interactions(staged, ingested, assignment, partial(engine.annotate, features))
        assignment.users.write_parquet(staged / "users.parquet")
        items, metadata = _join_metadata(
            assignment.items, [*options.items, *read.metadata], ingested, options.item_columns
        )
        items.write_parquet(staged / "items.parquet")
        write_json(staged / "features.json", features.words)
        shutil.rmtree(ingested.directory)
        card = make_card(staged, ingested, assignment, scale, features, metadata, options)
        card |= {name: value for name, value in (("notes", read.notes), ("warnings", read.warnings)) if value}
        write_json(staged / "card.json", card)
        write_card_page(staged, card)
        write_seal(staged, [file for file in staged.iterdir() if file.is_file()])
        _check_out(out, sources)  # again: preparing may take hours
    return card


def _note_split(read: ReadSources, assignment: Assignment, method: str) -> None:
    """Say where validation reviews come from if the source names none, and whether times are too coarse to split by."""
    kept = assignment.rows["keep"]
    split = assignment.rows["split"].filter(kept)
    drawn = int((split == VALID).sum())
    if method == "column" and drawn and "valid" not in read.keys["split"].filter(kept):
        read.notes["split"] = f"the column names no validation reviews: {drawn:,} training reviews were drawn for it"
    if method == "temporal":
        time = read.keys["timestamp"].filter(kept)
        test = time.filter(split == TEST)
        tied = int(test.is_in(time.filter(split == TRAIN).unique().implode()).sum())
        if tied > TIED_SHARE * len(test):
            read.warnings.append(
                f"{tied:,} of {len(test):,} test reviews have the time of a training review: the times are too coarse "
                "for --split temporal"
            )


def _check_out(out: Path, sources: Sequence[Path | str]) -> None:
    """Raise `DataError` if the dataset would replace a source, or anything but a dataset that gavamoe wrote."""
    for source in sources:
        if out.resolve() in (Path(source).resolve(), *Path(source).resolve().parents):
            raise DataError(f"{source} lies in {out}, which the dataset would replace: choose another --out")
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        check_replace(out, "dataset", DataError, UNSEALED if _is_earlier_dataset(out) else ())


def _is_earlier_dataset(path: Path) -> bool:
    """Return whether a directory holds the card of a dataset, as versions without a manifest wrote it."""
    try:
        card = json.loads((path / "card.json").read_text(encoding="utf-8"))
        return all(name in card for name in ("format", "splits", "scale"))
    except (OSError, ValueError, TypeError):
        return False


@dataclass(frozen=True)
class PrepareEngine:
    """Where the two passes over the texts run: this process, or a cluster (`ray_engine`).

    Args:
        read: reads the sources.
        annotate: annotates the kept interactions with features.
    """

    read: ReadParts | None = None
    annotate: AnnotateParts = annotate_here


@dataclass
class ReadSources:
    """The sources as they were read and understood.

    Args:
        ingested: the reviews of all sources.
        keys: user, item, rating, timestamp, split, file and line of every review.
        scale: the rating scale.
        metadata: the sources that describe items.
        notes: how ratings, times and users were understood, by review column; only what is not plain.
        warnings: what looks wrong, a line each.
        ambiguous_time: a time whose day and month cannot be told apart; empty if there is none.
    """

    ingested: Ingested
    keys: pl.DataFrame
    scale: RatingScale
    metadata: list[Path]
    notes: dict[str, str]
    warnings: list[str]
    ambiguous_time: str = ""


def read_sources(
    sources: Sequence[Path | str],
    parts: Path,
    options: PrepareOptions,
    on_rows: Callable[[int], None] | None = None,
    limit: int | None = None,
    read_parts: ReadParts | None = None,
) -> ReadSources:
    """Read all sources, and settle what only whole columns tell: scale, day or month first, suspicions.

    Args:
        sources: files or globs.
        parts: the directory of the typed parts, which is created.
        options: how to prepare.
        on_rows: called with the number of rows of each batch that was read, for progress.
        limit: read so many rows of each file; None for all.
        read_parts: how sources are read; None reads them here.

    Raises:
        DataError: a source cannot be used.
    """
    bad = BadLines(options.skip_bad)
    found = open_sources(expand_sources(sources), options.read, bad)
    refuse_unused_options([source.reader for source in found.reviews], options.read)
    _check_rules(found, options)
    check_metadata(options.items, found.reviews[0].layout, options.item_columns)
    ingested = ingest(found.reviews, parts, bad, on_rows, limit, read_parts)
    stats = ingested.stats
    stats.empty_files = len(found.empty)
    waits = stats.written_ratings or stats.waiting_times
    keys = ingested.scan().select(*KEYS, *(UNSETTLED if waits else ())).collect()
    notes = _describe_users(ingested)
    high, ambiguous = None, ""
    if waits:
        settled = settle(keys, options.read.rules)
        high, ambiguous = settled.high, settled.ambiguous_time
        notes |= settled.notes
        ingested.replace(settled.rows)
        keys = keys.drop(*UNSETTLED).with_columns(settled.rows)
        for row in settled.wrong.arg_true():
            given = "true" if keys["rating"][row] else "false"
            place = ingested.sources[keys[FILE][row]].reader.path
            ingested.bad.report(place, keys[LINE][row], YES_AMONG_NUMBERS.format(given))
        keys = _drop(keys, ingested, settled.wrong.arg_true().to_numpy())
        unread = int(settled.rows["timestamp"].null_count()) - (len(settled.rows) - stats.times)
        stats.unparsed_times = max(unread, stats.unparsed_times)
    scale, keys = _fit_scale(keys, ingested, options, high)
    warnings = find_suspicions(ingested, keys, scale, given=options.scale is not None)
    if ambiguous:
        warnings.append(
            f"times such as {ambiguous!r} may be day or month first, and are left out: --time-format day-first or "
            "--time-format month-first"
        )
    if not any("text" in source.layout.columns for source in ingested.sources):
        notes["text"] = "no column is the text: ratings without texts"
    return ReadSources(ingested, keys, scale, found.metadata, notes, warnings, ambiguous)


def _check_rules(found: Sources, options: PrepareOptions) -> None:
    """Raise `DataError` for an option that the sources' columns or the other options leave without effect."""
    read = options.read
    if read.index is not None and options.split != "column":
        raise DataError(f"--index {read.index} is used with --split column only: add it, or leave --index out")
    if read.rules.time_format and not any("timestamp" in source.layout.columns for source in found.reviews):
        raise DataError(
            f"{found.reviews[0].reader.path} has no column of times, so --time-format has no effect: name the column "
            "with --timestamp-col, or leave --time-format out"
        )


def _describe_users(ingested: Ingested) -> dict[str, str]:
    """Say which placeholders were taken for nobody."""
    if any("user" not in source.layout.columns for source in ingested.sources):
        return {"user": "no column: every review by a reviewer of its own"}
    names = sorted(ingested.stats.placeholders.items(), key=lambda pair: (-pair[1], pair[0]))
    if not names:
        return {}
    shown = ", ".join(f'"{name}" {count:,}' for name, count in names[:5])
    return {"user": f"placeholders are nobody: {shown}{' and others' if len(names) > 5 else ''}"}


def _drop(keys: pl.DataFrame, ingested: Ingested, rows: np.ndarray) -> pl.DataFrame:
    """Remove rows, given by their positions, from the parts and the keys."""
    if not len(rows):
        return keys
    ingested.drop(rows)
    kept = np.ones(keys.height, dtype=bool)
    kept[rows] = False
    return keys.filter(kept)


def _fit_scale(
    keys: pl.DataFrame, ingested: Ingested, options: PrepareOptions, high: float | None = None
) -> tuple[RatingScale, pl.DataFrame]:
    """Infer or check the rating scale; rows with ratings outside it are bad lines.

    Returns:
        The scale, and the keys without the bad lines, which are also removed from the ingested parts.
    """
    given = options.scale or ingested.sources[0].layout.scale
    while True:
        try:
            scale = given or RatingScale.infer(keys["rating"], high)
            scale.to_level(keys["rating"])
            return scale, keys
        except RatingOutOfRangeError as error:
            for row in error.rows.tolist():
                path = ingested.sources[keys[FILE][row]].reader.path
                ingested.bad.report(path, keys[LINE][row], error.problem(row))
            keys = _drop(keys, ingested, error.rows)
            if keys.is_empty():
                raise DataError(f"{path} has no review whose rating is in range") from error


def _write_interactions(
    directory: Path,
    ingested: Ingested,
    assignment: Assignment,
    annotate: Callable[[Iterator[pl.DataFrame]], Iterator[pl.DataFrame]],
) -> None:
    """Join the parts with their assignment and write one file, part by part to limit the memory."""

    def kept() -> Iterator[pl.DataFrame]:
        start = 0
        for part in ingested.parts():
            yield part.hstack(assignment.rows[start : start + part.height]).filter("keep")
            start += part.height

    def annotated(*_: object) -> Iterator[pl.DataFrame]:
        split = pl.col("split").replace_strict(dict(enumerate(SPLITS)), return_dtype=pl.String)
        for part in annotate(kept()):
            yield part.with_columns(split).select(list(INTERACTIONS))

    rows = register_io_source(annotated, schema=INTERACTIONS)
    rows.sink_parquet(directory / "interactions.parquet", compression_level=COMPRESSION_LEVEL)


def _find_metadata(ingested: Ingested) -> list[Path]:
    """Find sidecar metadata beside each source, or metadata within it."""
    readers = [source.reader for source in ingested.sources]
    found = [reader.path if HOTEL_NAME in reader.columns else find_sidecar_metadata(reader.path) for reader in readers]
    return [path for path in dict.fromkeys(found) if path is not None]


def _join_metadata(
    items: pl.DataFrame, metadata: list[Path], ingested: Ingested, named: Mapping[str, str]
) -> tuple[pl.DataFrame, list[Path]]:
    """Join the items with the named metadata files, or else with sidecar metadata; return the used files too."""
    names, layout = items["item"], ingested.sources[0].layout
    if metadata:
        known = read_items(metadata, names, layout, ingested.bad, named)
    else:
        known, metadata = read_sidecar_metadata(_find_metadata(ingested), names, layout)
    described = items.join(known, on="item", how="left", maintain_order="left")
    return described.select(*items.columns, *list(ITEM_SCHEMA)[1:]), metadata


@contextmanager
def _report_full_disk(out: Path) -> Iterator[None]:
    """Raise DataError if the disk is full: polars reports it as an OSError without errno, or as a ComputeError."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or any(words in str(error) for words in ("No space left", "File too large", "quota exceeded")):
            raise DataError(
                f"{out.parent} is full: free some space or choose another --out; nothing was written"
            ) from error
        raise
