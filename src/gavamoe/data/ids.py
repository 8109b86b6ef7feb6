"""Names to integers: ids count from 1 in the order of the known names, 0 is everyone else."""

from __future__ import annotations

import polars as pl


def ids_of(names: pl.Series, known: pl.Series) -> pl.Series:
    """Return the place of each name among the known names, from 1, and 0 where it is not known; Int32 [n]."""
    table = pl.DataFrame({"name": known, "id": pl.int_range(1, len(known) + 1, dtype=pl.Int32, eager=True)})
    return names.to_frame("name").join(table, on="name", how="left", maintain_order="left")["id"].fill_null(0)
