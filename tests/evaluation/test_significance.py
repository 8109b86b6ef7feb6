"""Intervals contain the value, and the tests find a difference only between systems that differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gavamoe.errors import DataError
from gavamoe.evaluation import significance
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import RATING_METRICS, STANDARD_METRICS, TEXT_METRICS, further_metrics
from gavamoe.evaluation.significance import compare, confidence_intervals

VOCABULARY = [f"word{number}" for number in range(40)]
FEATURES = VOCABULARY[:10]


def invented(seed: int, rows: int = 300, copied: float = 0.0, distinct: int = 10**6) -> Outputs:
    """Outputs on the same references: a share of each text copied from its reference, of so many distinct texts."""
    references = np.random.default_rng(99).choice(VOCABULARY, (rows, 8))
    rng = np.random.default_rng(seed)
    predictions = rng.choice(VOCABULARY, (rows, 8))[rng.integers(min(rows, distinct), size=rows)]
    predictions = np.where(rng.random((rows, 8)) < copied, references, predictions)
    true = np.random.default_rng(98).integers(1, 6, rows).astype(float)
    return Outputs(
        predictions.tolist(),
        references.tolist(),
        references[:, 0].tolist(),
        FEATURES,
        predicted=true + rng.normal(0, 1, rows),
        true=true,
        scale=(1, 5),
    )


def test_a_resample_of_weights_equals_scoring_the_rows_drawn() -> None:
    outputs = invented(0, rows=30, copied=0.3)
    drawn = np.random.default_rng(1).integers(30, size=30)
    picked = Outputs(
        [outputs.predictions[row] for row in drawn],
        [outputs.references[row] for row in drawn],
        [outputs.features[row] for row in drawn],
        FEATURES,
        predicted=outputs.predicted[drawn],
        true=outputs.true[drawn],
        scale=(1, 5),
    )
    weighted = RowScores(outputs, STANDARD_METRICS).weighted(np.bincount(drawn, minlength=30).astype(float))
    assert weighted == pytest.approx(RowScores(picked, STANDARD_METRICS).overall())


def test_an_interval_holds_its_value_and_narrows_with_more_rows() -> None:
    widths = []
    for rows in (100, 1600):
        scores = RowScores(invented(0, rows, copied=0.3), STANDARD_METRICS)
        intervals, values = confidence_intervals(scores), scores.overall()
        assert all(low <= values[name] <= high for name, (low, high) in intervals.items())
        widths.append(np.subtract(*intervals["rouge_1/f_score"][::-1]))
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)


def test_no_interval_where_distinct_items_are_counted() -> None:
    intervals = confidence_intervals(RowScores(invented(0), STANDARD_METRICS))
    assert not intervals.keys() & {"USR", "USN", "Distinct-1", "Distinct-2", "FCR", "DIV"}
    assert intervals.keys() >= {"BLEU-4", "rouge_l/f_score", "FMR", "RMSE"}


def test_the_same_outputs_give_the_same_interval() -> None:
    scores = RowScores(invented(0), RATING_METRICS)
    assert confidence_intervals(scores) == confidence_intervals(scores)


def test_a_clearly_better_system_differs_significantly() -> None:
    result = compare(invented(1, copied=0.5), invented(2, copied=0.3), TEXT_METRICS)
    for name in ("BLEU-1", "rouge_1/f_score", "rouge_l/f_score"):
        assert result[name].p < 0.01, name
        low, _ = result[name].interval
        assert low > 0


def test_systems_that_differ_by_chance_do_not_differ_significantly() -> None:
    by_name: dict[str, list[float]] = {}
    for seed in range(12):
        for name, found in compare(invented(seed, 150, 0.3), invented(seed + 100, 150, 0.3), STANDARD_METRICS).items():
            by_name.setdefault(name, []).append(found.p)
    assert "FCR" in by_name
    for name, values in by_name.items():
        assert np.mean(np.array(values) < 0.05) <= 0.25, name


def test_repeated_texts_differ_significantly_from_varied_ones() -> None:
    result = compare(invented(1), invented(2, distinct=20), TEXT_METRICS)
    assert result["USR"].p < 0.01
    assert result["USR"].test == "randomisation"
    assert result["USR"].interval is None
    assert result["Distinct-2"].p < 0.01


def test_a_system_does_not_differ_from_itself() -> None:
    outputs = invented(3)
    assert {found.p for found in compare(outputs, outputs, STANDARD_METRICS).values()} == {1.0}


def test_differences_from_rounding_are_ignored() -> None:
    outputs = invented(3)
    nudged = replace(outputs, predicted=outputs.predicted + 1e-14)
    assert {found.p for found in compare(nudged, outputs, RATING_METRICS).values()} == {1.0}


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = RowScores(invented(0, 50), STANDARD_METRICS)
    whole = confidence_intervals(scores)
    monkeypatch.setattr(significance, "MAX_CELLS", 700)
    for name, interval in confidence_intervals(scores).items():
        assert interval == pytest.approx(whole[name]), name


def test_systems_with_different_rows_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="same rows"):
        compare(invented(0, 10), invented(0, 11), TEXT_METRICS)


def test_compare_uses_the_scores_that_each_system_has_alone() -> None:
    # Coherence learns sentiment from the references; learned from both systems' rows it would have seen each twice.
    one, other = invented(0, copied=0.5), invented(1, copied=0.2)
    metrics = (*STANDARD_METRICS, *further_metrics())
    alone = [RowScores(outputs, metrics).overall() for outputs in (one, other)]
    for name, difference in compare(one, other, metrics).items():
        assert (difference.first, difference.second) == pytest.approx([scores[name] for scores in alone]), name


def test_compare_leaves_out_coherence_with_too_few_ratings() -> None:
    assert "rating coherence" not in compare(invented(0, rows=60), invented(1, rows=60), further_metrics())


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_a_handful_of_rows_shows_no_significant_difference(rows: int) -> None:
    result = compare(invented(1, rows, copied=0.9), invented(2, rows), STANDARD_METRICS)
    assert result["rouge_1/f_score"].first > result["rouge_1/f_score"].second
    assert min(each.p for each in result.values()) > 0.05
