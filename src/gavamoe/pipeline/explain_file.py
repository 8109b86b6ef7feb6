"""Explain a file of pairs: millions of pairs in bounded memory, resumable after any interruption.

    pairs ──> windows of consecutive rows ──engine──> one Parquet part per finished window ──> the output

Within a window, prompts of equal length share batches. The parts are written atomically into a directory beside the
output. When all exist they are joined in the order of the pairs, or become the output directory. The same windows give
the same batches, so the output depends neither on interruptions nor on the engine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from gavamoe.conditions import Condition
from gavamoe.data.catalog import Catalog
from gavamoe.data.readers.reading import Reading
from gavamoe.data.tables import check_replaces, write_table
from gavamoe.errors import DataError, RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.files import make_directory, real_path, staged_file, write_json
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.history_file import Histories, HistoryFile
from gavamoe.pipeline.pair_windows import Engine, WindowRequest, local_engine, model_digest, split_into_windows
from gavamoe.pipeline.pairs_file import read_pairs, sha256_of_pairs
from gavamoe.preference.history import UserHistory
from gavamoe.progress import track
from gavamoe.run import check_outside_parts

WINDOW = 8192  # pairs per part: an interruption loses at most this many
PLAN = "plan.json"  # inputs and settings of the unfinished work
WORDED = {"store": "--store", "encoding": "--encoding", "records": "--records"}  # names of the plan's keys in messages
EVIDENCE_KEPT = 3  # sentences in a store, as many as the service shows unless a request says otherwise


class Keep(Protocol):
    """Receives every finished window: pairs, explanations, how many sentences each was to have, and histories."""

    @property
    def label(self) -> str:
        """Where the explanations are kept."""

    def __call__(
        self, pairs: pl.DataFrame, explanations: Sequence[Explanation], evidence: int, histories: Histories
    ) -> None:
        """Keep the explanations of a window."""


def explain_file(
    explainer: Explainer,
    pairs: Path,
    out: Path,
    condition: Condition,
    resume: bool = False,
    window: int = WINDOW,
    evidence: int = 0,
    decoding: DecodingConfig | None = None,
    keep: Keep | None = None,
    encoding: str | None = None,
    records: str | None = None,
    on_reading: Callable[[Reading], None] | None = None,
    history: HistoryFile | None = None,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Explain the pairs of a file and write one row per pair, in their order, to `out`.

    Args:
        explainer: the trained explainer.
        pairs: the file to read, or a directory of files; see `read_pairs`.
        out: the file to write: .parquet, .jsonl or .csv. Without a suffix, a directory with a Parquet file per window.
        condition: what the prompt contains.
        resume: whether to keep the windows that an interrupted call for the same `out` finished, on any engine.
        window: pairs per part.
        evidence: sentences from other reviews to write with each text; 0 for no such column.
        decoding: how texts are decoded; None for the run's own configuration.
        keep: receives every window before it counts as finished, for example to fill a store.
        encoding, records, on_reading: how `pairs` is read; see `read_pairs`.
        history: rated items of users; a user who has some is estimated from them, others are looked up in the run.
        engine: what explains the windows; None for this process.

    Returns:
        n, out, conditions, cold_users and cold_items, as `gavamoe explain --pairs --json` prints them.

    Raises:
        DataError: the pairs are invalid, `out` would overwrite something, or the file of histories does not say whose
            they are.
        RunError: there is unfinished work for `out` and `resume` is False, or it had other inputs or settings.
    """
    _check_out(pairs, out)
    out = real_path(out)
    prepared = explainer.catalog.columns
    table = read_pairs(pairs, condition, explainer.catalog.scale, encoding, records, on_reading, prepared)
    condition = condition.with_context(explainer.context.most_context)
    found = evidence if keep is None else max(evidence, EVIDENCE_KEPT)
    request = WindowRequest(condition, decoding or explainer.decoding, found, model_digest(explainer))
    plan = {
        **_describe_request(request),
        "pairs": sha256_of_pairs(pairs),
        "window": window,
        "evidence": evidence,
        "history": None if history is None else history.sha256,
        "encoding": encoding,
        "records": records,
        "store": None if keep is None else keep.label,  # windows that were finished without it are not in it
    }
    histories = None if history is None else history.of_pairs(table["user"])
    windows = split_into_windows(table, histories, window)
    parts = FinishedWindows(out.with_name(f".{out.name}.parts"))
    parts.open(json.loads(json.dumps(plan)), resume)
    unfinished = [each for each in windows if each.number not in parts]
    with track("explanations", len(table)) as advance:
        advance(len(table) - sum(len(each.pairs) for each in unfinished), "")
        for each, explained in (engine or local_engine(explainer))(unfinished, request, advance):
            if keep is not None:
                keep(each.pairs, explained, found, each.histories)
                explained = [replace(one, evidence=one.evidence[:evidence]) for one in explained]
            parts.write(each.number, _frame(explained, bool(evidence)))
    _write_output(parts, len(windows), out)
    cold = _count_cold_pairs(explainer.catalog, table, histories)
    return {"n": len(table), "out": str(out), "conditions": condition.to_dict(), **cold}


def _describe_request(request: WindowRequest) -> dict[str, Any]:
    """Return what a plan keeps of how windows are explained."""
    return {
        "model": request.model,
        "conditions": request.condition.to_dict(),
        "decoding": request.decoding.to_generation_config().to_diff_dict(),
    }


def _write_output(parts: FinishedWindows, count: int, out: Path) -> None:
    """Join the finished windows in a file, or move them to a directory."""
    if not out.suffix:
        parts.move(out)
        return
    texts = parts.scan(count)
    write_table(_flat_cells(texts) if ".csv" in out.suffixes else texts, out)
    parts.discard()


def _count_cold_pairs(
    catalog: Catalog, pairs: pl.DataFrame, histories: Sequence[UserHistory | None] | None
) -> dict[str, int]:
    """Return how many pairs have a user, and an item, without a training review; users with a history do not count."""
    user_ids, item_ids = (ids.to_numpy() for ids in catalog.encode_pairs(pairs))
    named = np.array([each is None for each in histories]) if histories else np.ones(len(pairs), bool)
    return {"cold_users": int(((user_ids == 0) & named).sum()), "cold_items": int((item_ids == 0).sum())}


def _check_out(pairs: Path, out: Path) -> None:
    """Check that the output can be written, and overwrites nothing but explanations.

    Raises:
        ConfigError: the suffix of `out` is unknown.
        DataError: `out` is `pairs` or lies in it, is another file, or is a directory that is not empty.
        RunError: `out` lies in a part of a run.
    """
    check_outside_parts(out)
    if out.exists() and pairs.exists() and out.samefile(pairs):
        raise DataError(f"{out} is the file of pairs itself, which would be overwritten; choose another --out")
    if pairs.is_dir() and pairs.resolve() in out.resolve().parents:
        raise DataError(f"{out} lies in {pairs}, and would be read as pairs next time; choose another --out")
    if out.suffix:
        check_replaces(out, ["user", "item", "text", "rating_condition"], "explanations")
    if not out.suffix and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists already; choose another --out, or delete it")


@dataclass(frozen=True)
class FinishedWindows:
    """The finished windows of unfinished work, and plan.json with the inputs and settings that they belong to.

    Args:
        path: the directory of the parts.
    """

    path: Path

    def open(self, plan: dict[str, Any], resume: bool) -> None:
        """Start the work, or continue it.

        Args:
            plan: inputs and settings of the work, as JSON values.
            resume: whether finished windows may be used.

        Raises:
            RunError: there are finished windows, and `resume` is False or their plan differs.
        """
        if not (self.path / PLAN).is_file():  # not started, or already being deleted
            shutil.rmtree(self.path, ignore_errors=True)
            make_directory(self.path, exist_ok=False)
            write_json(self.path / PLAN, plan)
            return
        if not resume:
            raise RunError(f"{self.path} holds unfinished explanations; continue with --resume, or delete it")
        started = json.loads((self.path / PLAN).read_text(encoding="utf-8"))
        differing = [WORDED.get(name, name) for name in plan if started.get(name) != plan[name]]
        if differing:
            raise RunError(f"{self.path} was started with other {', '.join(differing)}; delete it to start again")

    def __contains__(self, number: int) -> bool:
        return self._part(number).is_file()

    def write(self, number: int, frame: pl.DataFrame) -> None:
        """Store a finished window, atomically."""
        with staged_file(self._part(number)) as staged:
            frame.write_parquet(staged)

    def scan(self, count: int) -> pl.LazyFrame:
        """Return the first `count` windows in order, as a lazy frame that can be streamed."""
        return pl.scan_parquet([self._part(number) for number in range(count)], glob=False)

    def move(self, out: Path) -> None:
        """Make the parts the directory `out`, which is absent or empty."""
        os.replace(self.path, out)
        (out / PLAN).unlink()

    def discard(self) -> None:
        """Delete everything, the plan first: parts without a plan are ignored."""
        (self.path / PLAN).unlink()
        shutil.rmtree(self.path)

    def _part(self, number: int) -> Path:
        return self.path / f"{number:08d}.parquet"


EVIDENCE_TYPE = pl.Struct({"user": pl.String, "text": pl.String, "rating": pl.Float64, "score": pl.Float64})


def _frame(explanations: list[Explanation], evidence: bool) -> pl.DataFrame:
    """Return one row per explanation, with the columns rating_condition, ..., context_condition and oracle."""
    rows = []
    schema: dict[str, Any] = {"feature": pl.String}
    if evidence:
        schema["evidence"] = pl.List(EVIDENCE_TYPE)
    for explanation in explanations:
        row = explanation.to_dict()
        conditions = row.pop("conditions")
        del row["experts"]
        quotes = row.pop("evidence")
        if evidence:
            row["evidence"] = [{field.name: quote[field.name] for field in EVIDENCE_TYPE.fields} for quote in quotes]
        row |= {f"{name}_condition": conditions[name] for name in ("rating", "feature", "context")}
        rows.append({**row, "oracle": conditions["oracle"]})
    return pl.DataFrame(rows, schema_overrides=schema, infer_schema_length=None)


def _flat_cells(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Return nested columns as text, for CSV: responsibilities joined by spaces, evidence sentences joined by " | "."""
    cells = [pl.col("responsibilities").list.eval(pl.element().cast(pl.String)).list.join(" ")]
    if "evidence" in texts.collect_schema():
        cells.append(pl.col("evidence").list.eval(pl.element().struct.field("text")).list.join(" | "))
    return texts.with_columns(cells)
