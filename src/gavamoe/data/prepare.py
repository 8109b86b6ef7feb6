"""Preparing: review files in, one documented dataset out, in three passes that never hold the texts in memory.

ingest    every source file, batch by batch -> typed rows in Parquet parts
decide    users, items, ratings and times only, a few bytes a row -> what stays, split, ids, levels
write     the parts beside the decisions, streamed -> interactions.parquet
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.bad_lines import BadLines
from gavamoe.data.card import make_card
from gavamoe.data.decide import Decisions, decide
from gavamoe.data.ingest import FILE, Ingested, ingest
from gavamoe.data.readers.open import ReadOptions, expand, open_reviews
from gavamoe.data.readers.rows import LINE
from gavamoe.data.scale import RatingOutOfRangeError, RatingScale
from gavamoe.data.splits import SPLIT_METHODS, SPLITS
from gavamoe.errors import DataError
from gavamoe.files import staged_directory, write_json

KEYS = ("user", "item", "rating", "timestamp", "split", FILE, LINE)


@dataclass(frozen=True)
class PrepareOptions:
    """How to prepare.

    Args:
        read: how to read the sources.
        split: random, temporal or column.
        seed: of the random split.
        scale: the rating scale; None for the one of the format, or else inferred from the ratings.
        skip_bad: how many unusable lines may be dropped.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    split: str = "random"
    seed: int = 0
    scale: RatingScale | None = None
    skip_bad: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLIT_METHODS:
            raise DataError(f"split '{self.split}' is unknown: expected {', '.join(SPLIT_METHODS)}")


def prepare(
    sources: Sequence[Path | str],
    out: Path | str,
    options: PrepareOptions | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the prepared dataset of the sources as the directory `out`, whole or not at all.

    Args:
        sources: review files or globs.
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
    opened = [open_reviews(path, options.read, bad) for path in expand(sources)]
    with staged_directory(out) as staged:
        ingested = ingest(opened, staged / "parts", bad, on_rows)
        keys = ingested.scan().select(KEYS).collect()
        scale = _find_scale(keys, ingested, options)
        decisions = decide(keys, scale, options.split, options.seed)
        del keys
        _write(staged, ingested, decisions)
        card = make_card(staged, ingested, decisions, scale, options)
        write_json(staged / "card.json", card)
        shutil.rmtree(ingested.directory)
    return card


def _find_scale(keys: pl.DataFrame, ingested: Ingested, options: PrepareOptions) -> RatingScale:
    scale = options.scale or ingested.sources[0].layout.scale
    try:
        scale = scale or RatingScale.infer(keys["rating"])
        scale.to_level(keys["rating"])
    except RatingOutOfRangeError as error:
        place = ingested.place(keys[FILE][error.row], keys[LINE][error.row])
        raise DataError(f"{place}: {error.problem}") from error
    return scale


def _write(directory: Path, ingested: Ingested, decisions: Decisions) -> None:
    reviews = ingested.scan().select("user", "item", "rating", "text", "feature", "timestamp")
    rows = pl.concat([reviews, decisions.rows.lazy()], how="horizontal").filter("keep")
    rows.select(
        "user",
        "item",
        "user_id",
        "item_id",
        "rating",
        "level",
        "text",
        "feature",
        "timestamp",
        pl.col("split").replace_strict(dict(enumerate(SPLITS)), return_dtype=pl.String),
    ).sink_parquet(directory / "interactions.parquet")
    decisions.users.write_parquet(directory / "users.parquet")
    no_metadata: dict[str, Any] = {"title": pl.String, "categories": pl.List(pl.String), "description": pl.String}
    items = decisions.items.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in no_metadata.items())
    items.write_parquet(directory / "items.parquet")
    features = pl.scan_parquet(directory / "interactions.parquet").select("feature").drop_nulls().unique().collect()
    write_json(directory / "features.json", features["feature"].sort().to_list())
