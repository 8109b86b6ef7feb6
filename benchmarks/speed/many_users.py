"""Write ratings by ten million users as a Parquet file, for a measurement of stage 1 with a large table of users.

    python benchmarks/speed/many_users.py ratings.parquet [--users 10000000] [--ratings 20000000]
    gavamoe prepare ratings.parquet --out data
    gavamoe train data --out run --stage preference --set preference.pretrain_epochs=1 --set preference.epochs=1 \\
        --set preference.warmup_epochs=0 --set preference.batch_size=4096

Every user rates at least once. Few items have most of the ratings. A rating is higher if user and item are of the same
of four kinds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

ITEMS, KINDS = 100_000, 4


def ratings(users: int, count: int) -> pl.DataFrame:
    """Return `count` ratings in random order, with the columns user, item and rating."""
    rng = np.random.default_rng(0)
    user = np.concatenate([np.arange(users), rng.integers(0, users, count - users)])
    item = (rng.pareto(1.2, count) * 500).astype(np.int64) % ITEMS
    alike = user * 2_654_435_761 % KINDS == item * 40_503 % KINDS
    rating = np.clip(np.rint(2.64 + 1.2 * alike + rng.normal(0, 0.8, count)), 1, 5).astype(np.int64)
    frame = pl.DataFrame({"user": user, "item": item, "rating": rating})[rng.permutation(count)]
    return frame.with_columns(pl.format("u{}", "user").alias("user"), pl.format("i{}", "item").alias("item"))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--ratings", type=int, default=20_000_000)
    options = parser.parse_args()
    ratings(options.users, options.ratings).write_parquet(options.out)


if __name__ == "__main__":
    main()
