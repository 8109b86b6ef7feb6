"""Drift year by year: a frozen, an updated and a new stage 1, each tested on the reviews of the time that follows.

    python benchmarks/quality/drift.py REVIEWS [REVIEWS ...] --dir DIR --years 2010 2013 2016 [--until 2019]

At each year, the model may read the reviews before it, and is tested on the reviews from it to the next year. A tenth
of the reviews before a year, by a hash of user and item, is for validation: a review never changes its split.

frozen   trained at the first year
update   `train --update` from the model of the year before
new      trained anew at each year

Prints the drift checks of the frozen model at each year, and a Markdown table: test RMSE in levels, over all rows and
over rows whose user and item the frozen model knows; seconds of processor time; and for the pairs before the first
year, the share whose cluster has the number that it has in the frozen model, and the adjusted Rand index.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import adjusted_rand_score

from gavamoe.config import RunConfig, load_config
from gavamoe.data.dataset import id_arrays
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.readers.open import read_reviews
from gavamoe.data.tables import write_table
from gavamoe.markdown import markdown_table
from gavamoe.pipeline.drift import drift_checks
from gavamoe.pipeline.train import train_run
from gavamoe.preference.recommender import Recommender
from gavamoe.run import RunDirectory

COLUMNS = ["user", "item", "rating", "timestamp"]


def read(sources: list[Path]) -> pl.DataFrame:
    """Return the reviews with a time, with their year."""
    frames = [read_reviews(source, None, lambda path, reading: None).select(COLUMNS) for source in sources]
    reviews = pl.concat(frames).drop_nulls("timestamp")
    return reviews.with_columns(year=pl.from_epoch("timestamp").dt.year())


def last_year(reviews: pl.DataFrame) -> int:
    """Return the year of the newest review."""
    return int(reviews["year"].to_numpy().max())


def prepared(reviews: pl.DataFrame, directory: Path) -> Path:
    """Prepare reviews, a tenth for validation."""
    is_valid = pl.concat_str("user", "item").hash(0) % 10 == 0
    source = directory.with_suffix(".csv")
    split = pl.when(is_valid).then(pl.lit("valid")).otherwise(pl.lit("train"))
    write_table(reviews.select(*COLUMNS, split=split), source)
    prepare([str(source)], directory, PrepareOptions(split="column"))
    return directory


def rmse(run: Path, test: pl.DataFrame, known_to: Recommender) -> tuple[float, float]:
    """Return the error in levels over all rows, and over rows that the frozen model knows."""
    model = Recommender.from_pretrained(run)
    rows = model.catalog.encode(test)
    level = model.catalog.scale.to_level(test["rating"]).to_numpy()
    predicted = model.preference.predict_rating(*id_arrays(rows)).numpy()
    known = known_to.catalog.encode(test)
    is_known = ((known["user_id"] > 0) & (known["item_id"] > 0)).to_numpy()
    square = (predicted - level) ** 2
    return float(square.mean() ** 0.5), float(square[is_known].mean() ** 0.5)


def clusters(run: Path, pairs: pl.DataFrame) -> np.ndarray:
    """Return the cluster of each pair in a run."""
    model = Recommender.from_pretrained(run)
    return model.responsibilities(*id_arrays(model.catalog.encode(pairs))).argmax(-1)


def train(
    data: Path, directory: Path, year: int, before: Path | None, config: RunConfig
) -> dict[str, tuple[Path, float]]:
    """Train a new stage 1, and an update of the one before; return runs with their seconds of processor time."""
    runs = {}
    sources: dict[str, dict[str, Any]] = {"new": {"config": config}}
    if before is not None:
        sources["update"] = {"update": before}
    for name, source in sources.items():
        begun = time.process_time()
        train_run(data, directory / f"{name}-{year}", stage="preference", **source)
        runs[name] = directory / f"{name}-{year}", time.process_time() - begun
    return runs


def main() -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reviews", nargs="+", type=Path)
    parser.add_argument("--dir", required=True, type=Path)
    parser.add_argument("--years", nargs="+", type=int, required=True)
    parser.add_argument("--until", type=int, help="end of the last test time; default: the last year of the data")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    reviews, config = read(options.reviews), load_config("small", None, [f"seed={options.seed}"])
    frozen, before = options.dir / f"new-{options.years[0]}", None
    first = reviews.filter(pl.col("year") < options.years[0])
    rows: list[list[str]] = []
    for year, end in pairwise([*options.years, options.until or last_year(reviews) + 1]):
        past = reviews.filter(pl.col("year") < year)
        test = reviews.filter(pl.col("year").is_between(year, end, closed="left"))
        runs = train(prepared(past, options.dir / f"data-{year}"), options.dir, year, before, config)
        before = runs["update" if before else "new"][0]
        known, base = Recommender.from_pretrained(frozen), clusters(frozen, first)
        for name, (run, seconds) in {"frozen": (frozen, 0.0), **runs}.items():
            errors, now = rmse(run, test, known), clusters(run, first)
            agreement = [f"{np.mean(base == now):.2f}", f"{adjusted_rand_score(base, now):.2f}"]
            sizes = [f"{year}-{end - 1}", f"{len(past):,}", f"{len(test):,}"]
            rows.append([*sizes, name, *(f"{error:.3f}" for error in errors), f"{seconds:.0f}", *agreement])
        write_table(test.select(COLUMNS), options.dir / f"test-{year}.csv")
        checks = drift_checks(RunDirectory(frozen), options.dir / f"test-{year}.csv")["checks"]
        print(f"{year}: " + ", ".join(f"{c['name']} {c['status']} {c['value'] or 0:.3f}" for c in checks), flush=True)
    figures = ["RMSE", "RMSE, known pairs", "seconds", "same number", "ARI"]
    print(markdown_table(["test years", "reviews before", "test rows", "model", *figures], rows))


if __name__ == "__main__":
    main()
