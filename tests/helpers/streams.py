"""Datasets that grow: the reviews of a prepared dataset with those of new users and new items appended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.tables import write_table

COLUMNS = ["user", "item", "rating", "text", "timestamp", "split"]


def with_newcomers(dataset: Path, target: Path, users: dict[str, str], items: dict[str, str]) -> Path:
    """Prepare the reviews of a dataset, with those of some users and items again under new names; splits are kept.

    Args:
        dataset: a prepared dataset.
        target: where to prepare the larger one.
        users: new name -> known name.
        items: new name -> known name.
    """
    reviews = ReviewDataset.load(dataset).interactions().select(COLUMNS)
    parts = [reviews]
    for column, names in (("user", users), ("item", items)):
        for new, known in names.items():
            parts.append(reviews.filter(pl.col(column) == known).with_columns(pl.lit(new).alias(column)))
    return prepare_splits(pl.concat(parts), target)


def prepare_splits(reviews: pl.DataFrame, target: Path, **options: object) -> Path:
    """Prepare reviews that have a split column."""
    source = target.with_suffix(".jsonl.gz")
    write_table(reviews, source)
    prepare([str(source)], target, PrepareOptions(split="column", **options))
    return target


def change_tastes(reviews: pl.DataFrame, onset: int, share: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Let users of a simulated world change their taste: from a time on, each reviews as a user of another group did.

    Args:
        reviews: of `simulate`, with user, timestamp and cluster (the true group).
        onset: the time from which tastes have changed.
        share: share of the users that change.
        seed: of the choice.
    """
    groups = reviews.group_by("user").agg(pl.col("cluster").first()).sort("cluster", "user")
    names, largest = groups["user"].to_list(), groups["cluster"].value_counts()["count"].max()
    # A shift by the size of the largest group leads every user to another group.
    behind = {name: names[(place + largest) % len(names)] for place, name in enumerate(names)}
    rng = np.random.default_rng(seed)
    changed = set(rng.choice(names, round(share * len(names)), replace=False).tolist())
    now = {source: name for name, source in behind.items() if name in changed}
    is_late = (pl.col("timestamp") >= onset) & pl.col("user").is_in(list(now))
    renamed = pl.when(is_late).then(pl.col("user").replace(now)).otherwise("user")
    return reviews.with_columns(user=renamed).unique(["user", "item"], keep="first", maintain_order=True)
