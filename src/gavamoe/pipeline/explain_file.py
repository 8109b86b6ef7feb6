"""Explanations for a file of pairs: millions of them, in bounded memory, resumable at any moment.

The pairs are explained in windows of consecutive rows; inside a window, prompts of one length share batches. A finished
window is a Parquet part in a directory beside the output, where it appears whole or not at all. When all are there they
are joined, in the order of the pairs, to the one file asked for. The same windows make the same batches, so a resumed
file is the file of an uninterrupted run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.tables import check_suffix, write_table
from gavamoe.errors import DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.files import staged_file, write_json
from gavamoe.pipeline.pairs_file import read_pairs
from gavamoe.progress import track

WINDOW = 8192  # pairs that a kill can cost
PLAN = "plan.json"


def explain_file(
    explainer: Explainer,
    pairs: Path,
    out: Path,
    condition: Condition,
    resume: bool = False,
    window: int = WINDOW,
    evidence: int = 0,
) -> dict[str, Any]:
    """Read pairs (columns user, item; rating, feature where given), explain them in their order, write `out`.

    evidence: how many sentences by others to write beside each text; with some there is a column for them.
    With `resume`, what an interrupted call for the same `out` finished is kept; it must have been the same work.
    Without, unfinished work there is refused, not lost.
    """
    check_suffix(out)
    table = read_pairs(pairs, condition, explainer.catalog.columns)
    if condition.rating == "given":
        _check_ratings(explainer, table["rating"], pairs)
    plan = {
        "pairs": _digest_of_file(pairs),
        "model": _digest_of_model(explainer),
        "conditions": condition.to_dict(),
        "decoding": explainer.model.generation_config.to_diff_dict(),
        "window": window,
        "evidence": evidence,
    }
    parts = Parts(out.with_name(f".{out.name}.parts"))
    parts.open(json.loads(json.dumps(plan)), resume)
    starts = range(0, len(table), window)
    with track("explanations", len(table)) as advance:
        for number, start in enumerate(starts):
            rows = table[start : start + window]
            if number in parts:
                advance(len(rows), "")
            else:
                explained = explainer.explain_batch(rows, condition, evidence=evidence, advance=advance)
                parts.write(number, _frame(explained, bool(evidence)))
    texts = parts.scan(len(starts))
    write_table(_one_value_a_cell(texts) if ".csv" in out.suffixes else texts, out)
    parts.discard()
    return {"n": len(table), "out": str(out), "conditions": condition.to_dict()}


@dataclass(frozen=True)
class Parts:
    """The finished windows of unfinished work, and plan.json, which says whose they are."""

    path: Path

    def open(self, plan: dict[str, Any], resume: bool) -> None:
        """Begin, or go on with what is there; `RunError` when that is other work, or nobody said to go on."""
        if not (self.path / PLAN).is_file():  # never begun, or already being discarded
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            write_json(self.path / PLAN, plan)
            return
        if not resume:
            raise RunError(f"{self.path} holds an unfinished explanation; go on with --resume, or delete it")
        begun = json.loads((self.path / PLAN).read_text(encoding="utf-8"))
        other = [name for name in plan if begun.get(name) != plan[name]]
        if other:
            raise RunError(f"{self.path} was begun with other {', '.join(other)}; delete it to begin anew")

    def __contains__(self, number: int) -> bool:
        return self._part(number).is_file()

    def write(self, number: int, frame: pl.DataFrame) -> None:
        """Keep a finished window."""
        with staged_file(self._part(number)) as staged:
            frame.write_parquet(staged)

    def scan(self, count: int) -> pl.LazyFrame:
        """All windows in order, to be streamed."""
        return pl.scan_parquet([self._part(number) for number in range(count)], glob=False)

    def discard(self) -> None:
        """Delete everything, the plan first: without it the rest counts for nothing."""
        (self.path / PLAN).unlink()
        shutil.rmtree(self.path)

    def _part(self, number: int) -> Path:
        return self.path / f"{number:08d}.parquet"


EVIDENCE = pl.Struct({"user": pl.String, "text": pl.String, "rating": pl.Float64, "score": pl.Float64})


def _frame(explanations: list[Explanation], evidence: bool) -> pl.DataFrame:
    """A row an explanation; the conditions are columns: rating_condition, feature_condition, oracle."""
    rows = []
    schema: dict[str, Any] = {"feature": pl.String}
    if evidence:
        schema["evidence"] = pl.List(EVIDENCE)
    for explanation in explanations:
        row = explanation.to_dict()
        conditions = row.pop("conditions")
        del row["experts"]
        said = row.pop("evidence")
        if evidence:
            row["evidence"] = [{field.name: quote[field.name] for field in EVIDENCE.fields} for quote in said]
        row |= {"rating_condition": conditions["rating"], "feature_condition": conditions["feature"]}
        rows.append({**row, "oracle": conditions["oracle"]})
    return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)


def _check_ratings(explainer: Explainer, rating: pl.Series, pairs: Path) -> None:
    try:
        explainer.catalog.scale.to_level(rating)
    except DataError as error:
        raise DataError(f"{pairs}, {error}, the scale this run was trained on") from None


def _one_value_a_cell(texts: pl.LazyFrame) -> pl.LazyFrame:
    """For CSV: responsibilities as numbers between spaces, evidence as its sentences between bars."""
    cells = [pl.col("responsibilities").list.eval(pl.element().cast(pl.String)).list.join(" ")]
    if "evidence" in texts.collect_schema():
        cells.append(pl.col("evidence").list.eval(pl.element().struct.field("text")).list.join(" | "))
    return texts.with_columns(cells)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_model(explainer: Explainer) -> str:
    """Of weights that any training moves: enough to tell runs apart without reading a large model whole."""
    told = hashlib.sha256()
    for weights in (explainer.model.user_token.projection.weight, *explainer.preference.prior.parameters()):
        told.update(weights.detach().float().cpu().numpy().tobytes())
    return told.hexdigest()
