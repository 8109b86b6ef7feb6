"""Explanations for a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.data.simulate import write_reviews
from gavamoe.errors import DataError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.prompt import Condition

READERS = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}


def explain_file(explainer: Explainer, pairs: Path, out: Path, condition: Condition) -> dict[str, Any]:
    """Read pairs (columns user, item; rating, feature for `given`), explain them in their order, write `out`."""
    if out.suffix not in READERS:
        raise DataError(f"cannot tell the format of {out.name}: end it in {', '.join(READERS)}")
    reader = READERS.get(pairs.suffix)
    if reader is None:
        raise DataError(f"cannot tell the format of {pairs.name}: a file of pairs ends in {', '.join(READERS)}")
    try:
        frame = reader(pairs)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {pairs}: {str(error).splitlines()[0]}") from None
    if frame.is_empty():
        raise DataError(f"{pairs} has no pairs")
    explanations = explainer.explain_batch(frame, condition)
    rows = [{key: value for key, value in e.to_dict().items() if key != "experts"} for e in explanations]
    table = pl.DataFrame(rows)
    if out.suffix == ".csv":  # a cell holds one value
        table = table.with_columns(pl.col("responsibilities").list.eval(pl.element().cast(pl.String)).list.join(" "))
    write_reviews(table, out)
    return {"n": len(rows), "out": str(out), "conditions": {"rating": condition.rating, "feature": condition.feature}}
