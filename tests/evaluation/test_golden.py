"""Metric values stay equal: on outputs of a published system where available, and always on invented outputs."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gavamoe.evaluation.metrics import diversity, features
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import score_texts

HERE = Path(__file__).parent
REFERENCE = Path(os.environ.get("GAVAMOE_REFERENCE", HERE.parents[2] / "shared" / "reference"))


def column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row.get(name) for row in rows]


def score_rows(rows: list[dict[str, Any]], feature_set: list[str]) -> dict[str, float | None]:
    return score_texts(column(rows, "prediction"), column(rows, "reference"), column(rows, "feature"), feature_set)


@pytest.mark.skipif(
    not (REFERENCE / "metrics_yelp_golden.json").is_file(),
    reason="the outputs of a published system are not available; set GAVAMOE_REFERENCE to their folder",
)
def test_values_agree_with_the_published_evaluation() -> None:
    golden = json.loads((REFERENCE / "metrics_yelp_golden.json").read_text())
    with gzip.open(REFERENCE / "metrics_yelp_pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    scored = score_rows(rows, golden["feature_set"])
    for name, value in golden["metrics"].items():
        assert scored[name] == pytest.approx(value, abs=1e-6), name


def test_values_of_invented_outputs_do_not_change() -> None:
    golden = json.loads((HERE / "golden" / "golden.json").read_text())
    rows = [json.loads(line) for line in (HERE / "golden" / "outputs.jsonl").read_text().splitlines()]
    scored = score_rows(rows, golden["feature_set"])
    assert scored == pytest.approx(golden["metrics"], abs=1e-9)


@pytest.mark.slow
def test_diversity_of_a_hundred_thousand_texts_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(3000)])
    texts = words[rng.zipf(1.3, (100_000, 12)) % 3000].tolist()
    outputs = Outputs(texts, texts, feature_set=words[:500])
    began = time.process_time()
    scored = RowScores(outputs, (*diversity.METRICS, *features.METRICS)).overall()
    # About 2 s; comparing pairs would take hours.
    assert time.process_time() - began < 10
    assert scored["DIV"] is not None
