"""Explanations for a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.tables import read_table, write_table
from gavamoe.errors import DataError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.prompt import Condition


def explain_file(explainer: Explainer, pairs: Path, out: Path, condition: Condition) -> dict[str, Any]:
    """Read pairs (columns user, item; rating, feature for `given`), explain them in their order, write `out`."""
    frame = read_table(pairs)
    if frame.is_empty():
        raise DataError(f"{pairs} has no pairs")
    explanations = explainer.explain_batch(frame, condition)
    rows = [{key: value for key, value in e.to_dict().items() if key != "experts"} for e in explanations]
    table = pl.DataFrame(rows)
    if ".csv" in out.suffixes:  # a cell holds one value
        table = table.with_columns(pl.col("responsibilities").list.eval(pl.element().cast(pl.String)).list.join(" "))
    write_table(table, out)
    return {"n": len(rows), "out": str(out), "conditions": {"rating": condition.rating, "feature": condition.feature}}
