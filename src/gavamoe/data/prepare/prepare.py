"""Preparing: review files in, one documented dataset out, in passes that never hold all the texts in memory.

ingest    every source file, batch by batch -> typed rows in Parquet parts
decide    users, items, ratings and times only, a few bytes a row -> what stays, split, ids, levels
write     the parts beside the decisions, streamed -> interactions.parquet
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from gavamoe.data.items import ITEM_SCHEMA, check_items, find_sidecar_metadata, read_items, read_sidecar_metadata
from gavamoe.data.prepare.annotate import FEATURE_MODES, FeatureAnnotator, choose_features
from gavamoe.data.prepare.assign import Assignment, assign_rows
from gavamoe.data.prepare.card import make_card
from gavamoe.data.prepare.card_page import write_card_page
from gavamoe.data.prepare.ingest import FILE, Ingested, ingest
from gavamoe.data.prepare.languages import is_in_language
from gavamoe.data.prepare.splits import SPLIT_METHODS, SPLITS
from gavamoe.data.readers.bad_lines import BadLines
from gavamoe.data.readers.layouts import HOTEL_NAME
from gavamoe.data.readers.open import ReadOptions, expand, sort_sources
from gavamoe.data.readers.rows import LINE
from gavamoe.data.scale import RatingOutOfRangeError, RatingScale
from gavamoe.errors import DataError
from gavamoe.features.sentences import SAID
from gavamoe.files import staged_directory, write_json

INTERACTIONS = {
    "user": pl.String(),
    "item": pl.String(),
    "user_id": pl.Int32(),
    "item_id": pl.Int32(),
    "rating": pl.Float32(),
    "level": pl.Int8(),
    **SAID,
    "timestamp": pl.Int64(),
    "split": pl.String(),
}
# Of zstd: the first level is a third faster than the usual third, and its files a tenth larger.
COMPRESSION = 1
KEYS = ("user", "item", "rating", "timestamp", "split", FILE, LINE)


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare.

    Args:
        read: how to read the sources.
        items: files of item metadata; where none is given, one beside the reviews is used.
        split: random, temporal or column.
        seed: of the random split.
        scale: the rating scale; None for the one of the format, or else inferred from the ratings.
        features: off, auto (the source's column, or else learned from the texts) or column.
        k_core: reviews that every user and item must have; 0 for all.
        min_words: words that every text must have.
        language: ISO 639-1 code that every text must be in; None for all.
        skip_bad: how many unusable lines may be dropped.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    items: tuple[Path, ...] = ()
    split: str = "random"
    seed: int = 0
    scale: RatingScale | None = None
    features: str = "auto"
    k_core: int = 0
    min_words: int = 0
    language: str | None = None
    skip_bad: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLIT_METHODS:
            raise DataError(f"split '{self.split}' is unknown: expected {', '.join(SPLIT_METHODS)}")
        if self.features not in FEATURE_MODES:
            raise DataError(f"features '{self.features}' is unknown: expected {', '.join(FEATURE_MODES)}")


def prepare(
    sources: Sequence[Path | str],
    out: Path | str,
    options: PrepareOptions | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the prepared dataset of the sources as the directory `out`, whole or not at all.

    Args:
        sources: files or globs of reviews, and of item metadata, which is told by its columns.
        out: the directory; a prepared dataset that is there already is replaced.
        options: how to prepare.
        on_rows: called with a number of rows as they are read, for progress.

    Returns:
        The dataset's card, as written to card.json.

    Raises:
        DataError: a source cannot be used, or `out` is something else than a prepared dataset.
    """
    options = options or PrepareOptions()
    out = Path(out)
    if out.exists() and not (out / "card.json").is_file():
        raise DataError(f"{out} exists and is not a prepared dataset: remove it or choose another --out")
    bad = BadLines(options.skip_bad)
    found = sort_sources(expand(sources), options.read, bad)
    check_items(options.items, found.reviews[0].layout)
    with _full_disk_is_an_input_error(out), staged_directory(out) as staged:
        ingested = ingest(found.reviews, staged / "parts", bad, on_rows)
        ingested.notes.empty_files = len(found.empty)
        keys = ingested.scan().select(KEYS).collect()
        scale, keys = _find_scale(keys, ingested, options)
        filters, unread_time = _text_filters(ingested, options), ingested.notes.unread_time
        assignment = assign_rows(keys, scale, options.split, options.seed, options.k_core, filters, unread_time)
        del keys
        features = choose_features(ingested, assignment, options.features)
        _write_interactions(staged, ingested, assignment, features)
        assignment.users.write_parquet(staged / "users.parquet")
        items, metadata = _describe(assignment.items, [*options.items, *found.described], ingested)
        items.write_parquet(staged / "items.parquet")
        write_json(staged / "features.json", features.words)
        shutil.rmtree(ingested.directory)
        card = make_card(staged, ingested, assignment, scale, features, metadata, options)
        write_json(staged / "card.json", card)
        write_card_page(staged, card)
    return card


def _find_scale(keys: pl.DataFrame, ingested: Ingested, options: PrepareOptions) -> tuple[RatingScale, pl.DataFrame]:
    """Find the scale; ratings outside it are bad lines, and go from the keys and from what was ingested."""
    named = options.scale or ingested.sources[0].layout.scale
    while True:
        try:
            scale = named or RatingScale.infer(keys["rating"])
            scale.to_level(keys["rating"])
            return scale, keys
        except RatingOutOfRangeError as error:
            for row in error.rows.tolist():
                path = ingested.sources[keys[FILE][row]].rows.path
                ingested.bad.report(path, keys[LINE][row], error.problem(row))
            ingested.drop(error.rows)
            kept = np.ones(keys.height, dtype=bool)
            kept[error.rows] = False
            keys = keys.filter(kept)
            if keys.is_empty():
                raise DataError(f"{path} has no review whose rating is in range") from error


def _text_filters(ingested: Ingested, options: PrepareOptions) -> dict[str, np.ndarray]:
    filters: dict[str, pl.Expr] = {}
    if options.min_words:
        filters[f"fewer than {options.min_words} words"] = pl.col("words") >= options.min_words
    if options.language:
        code = options.language
        filters[f"not in language {code}"] = pl.col("text").map_batches(
            lambda texts: is_in_language(texts, code), return_dtype=pl.Boolean, is_elementwise=True
        )
    if not filters:
        return {}
    passes = ingested.scan().select(**filters).collect(engine="streaming")
    return {name: passes[name].to_numpy() for name in filters}


def _write_interactions(
    directory: Path, ingested: Ingested, assignment: Assignment, features: FeatureAnnotator
) -> None:
    """Write the parts beside their decisions as one file, a part at a time: the whole streamed holds many in memory."""

    def parts(*_: object) -> Iterator[pl.DataFrame]:
        start = 0
        for part in ingested.parts():
            rows = part.hstack(assignment.rows[start : start + part.height]).lazy().filter("keep")
            start += part.height
            split = pl.col("split").replace_strict(dict(enumerate(SPLITS)), return_dtype=pl.String)
            yield features.apply(rows).with_columns(split).select(list(INTERACTIONS)).collect()

    rows = register_io_source(parts, schema=INTERACTIONS)
    rows.sink_parquet(directory / "interactions.parquet", compression_level=COMPRESSION)


def _sidecar_metadata(ingested: Ingested) -> list[Path]:
    """Find metadata where nobody named any: beside each source, or within it."""
    sources = [source.rows for source in ingested.sources]
    found = [rows.path if HOTEL_NAME in rows.columns else find_sidecar_metadata(rows.path) for rows in sources]
    return [path for path in dict.fromkeys(found) if path is not None]


def _describe(items: pl.DataFrame, metadata: list[Path], ingested: Ingested) -> tuple[pl.DataFrame, list[Path]]:
    """Join what the named metadata, or else files beside the reviews, say of the items; return the files too."""
    names, layout = items["item"], ingested.sources[0].layout
    if metadata:
        known = read_items(metadata, names, layout, ingested.bad)
    else:
        known, metadata = read_sidecar_metadata(_sidecar_metadata(ingested), names, layout)
    described = items.join(known, on="item", how="left", maintain_order="left")
    return described.select(*items.columns, *list(ITEM_SCHEMA)[1:]), metadata


@contextmanager
def _full_disk_is_an_input_error(out: Path) -> Iterator[None]:
    """The engine reports a full disk as an OSError without a number, or as a ComputeError; both become one line."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or any(words in str(error) for words in ("No space left", "File too large", "quota exceeded")):
            raise DataError(
                f"{out.parent} is full: free some space or choose another --out; nothing was written"
            ) from error
        raise
