"""The data card as JSON: the sources of a dataset, how it was prepared, and statistics of its content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe import __version__
from gavamoe.data.dataset import FORMAT_VERSION, SPLITS
from gavamoe.data.prepare.annotate import FeatureAnnotator
from gavamoe.data.prepare.assign import REPEATED, Assignment
from gavamoe.data.prepare.ingest import Ingested
from gavamoe.data.prepare.options import PrepareOptions
from gavamoe.data.readers.inputs import sha256_of_input
from gavamoe.data.readers.open import ReviewSource
from gavamoe.data.scale import RatingScale

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)


def make_card(
    directory: Path,
    ingested: Ingested,
    assignment: Assignment,
    scale: RatingScale,
    features: FeatureAnnotator,
    metadata: Sequence[Path],
    options: PrepareOptions,
) -> dict[str, Any]:
    """Describe a dataset; docs/data.md explains each entry.

    Args:
        directory: the directory that contains interactions.parquet and items.parquet.
        ingested: the sources, and counts of what was read.
        assignment: the kept reviews, and the known users and items.
        scale: the rating scale.
        features: the features and how they were chosen.
        metadata: the files of item metadata that were used.
        options: the options of the preparation.

    Returns:
        The content of card.json.
    """
    rows = pl.scan_parquet(directory / "interactions.parquet", glob=False)
    n_reviews, n_users, n_items = assignment.rows["keep"].sum(), assignment.users.height, assignment.items.height
    return {
        "format": FORMAT_VERSION,
        "gavamoe": __version__,
        "sources": [_source(source) for source in ingested.sources],
        "items": _metadata(metadata, directory / "items.parquet"),
        "counts": {
            "reviews": n_reviews,
            "users": n_users,
            "items": n_items,
            "density": n_reviews / max(n_users * n_items, 1),
            **_text_counts(rows),
        },
        "reading": {**_reading(ingested), REPEATED: assignment.repeated},
        "filters": {
            "k_core": options.k_core,
            "min_words": options.min_words,
            "language": options.language,
            "dropped": assignment.dropped,
        },
        "scale": scale.to_json(),
        "ratings": _histogram(rows),
        "sparsity": {"per user": _quantiles(assignment.users), "per item": _quantiles(assignment.items)},
        "splits": {"method": options.split, "seed": options.seed, **_splits(assignment)},
        "features": {
            "method": features.method,
            "count": len(features.words),
            **({"note": features.note} if features.note else {}),
            "extractor": features.extractor.to_json() if features.extractor else None,
        },
    }


def _source(source: ReviewSource) -> dict[str, Any]:
    """Describe a source file, the layout it was read with, and how its bytes became rows."""
    path, layout = source.reader.path, source.layout
    return {
        "name": path.name,
        "sha256": sha256_of_input(path),
        "format": layout.name,
        "columns": dict(layout.columns),
        "guessed": list(layout.guessed),
        "reading": source.reading.to_json(),
    }


def _metadata(sources: Sequence[Path], items: Path) -> dict[str, Any]:
    """Describe the metadata files, and count the items with a title, categories or a description."""
    described = pl.any_horizontal(pl.col("title", "description").is_not_null())
    texts = pl.scan_parquet(items, glob=False).select(pl.col("title", "categories", "description").count()).collect()
    counts = texts.row(0, named=True)
    return {
        "sources": [{"name": path.name, "sha256": sha256_of_input(path)} for path in sources],
        **({"with": counts} if any(counts.values()) else {}),
        "described": pl.scan_parquet(items, glob=False).filter(described).select(pl.len()).collect().item(),
    }


def _reading(ingested: Ingested) -> dict[str, Any]:
    """Return the counts of what was read, and what the user said about the values."""
    stats, rules = ingested.stats, ingested.sources[0].options.rules.to_json()
    return {
        "rows": ingested.stats.rows,
        "files without reviews": ingested.stats.empty_files,
        "bad lines dropped": ingested.bad.count,
        "bad line examples": ingested.bad.examples,
        "texts cleaned": ingested.stats.cleaned_texts,
        "texts empty": ingested.stats.empty_texts,
        "times not understood": ingested.stats.unparsed_times,
        "by anonymous users": ingested.stats.anonymous,
        **({"texts that said nothing, such as nan": stats.missing_texts} if stats.missing_texts else {}),
        **({"not rated, dropped": stats.unrated} if stats.unrated else {}),
        **({"rules": rules} if rules else {}),
    }


def _text_counts(rows: pl.LazyFrame) -> dict[str, Any]:
    """Count texts, features, opinions and times; the values are numbers or None, as polars returns them."""
    found = rows.select(
        with_text=(pl.col("words") > 0).sum(),
        with_feature=pl.col("feature").is_not_null().sum(),
        with_opinion=pl.col("opinion").is_not_null().sum(),
        with_time=pl.col("timestamp").is_not_null().sum(),
        mean_words=pl.col("words").mean(),
        first_time=pl.col("timestamp").min(),
        last_time=pl.col("timestamp").max(),
    )
    return found.collect(engine="streaming").row(0, named=True)


def _histogram(rows: pl.LazyFrame) -> dict[str, int]:
    """Count the reviews of each rating level."""
    counts = rows.group_by("level").agg(pl.len()).sort("level").collect(engine="streaming")
    return {str(level): count for level, count in counts.iter_rows()}


def _quantiles(table: pl.DataFrame) -> dict[str, float]:
    """Return quantiles of the number of training records per user or item."""
    return {f"{share:g}": table["n_train"].quantile(share, "nearest") or 0.0 for share in QUANTILES}


def _splits(assignment: Assignment) -> dict[str, Any]:
    """Count the reviews of each split, and those of unknown (cold) users and items."""
    kept = assignment.rows.filter("keep")
    cold = kept.group_by("split").agg(
        pl.len(), users=(pl.col("user_id") == 0).sum(), items=(pl.col("item_id") == 0).sum()
    )
    found = {SPLITS[row["split"]]: row for row in cold.iter_rows(named=True)}
    return {
        "sizes": {name: found[name]["len"] if name in found else 0 for name in SPLITS},
        "unknown users": {name: found[name]["users"] for name in SPLITS if name in found},
        "unknown items": {name: found[name]["items"] for name in SPLITS if name in found},
    }
