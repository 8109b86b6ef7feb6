"""A group scores as its rows do alone, and users are grouped by their number of training reviews."""

from __future__ import annotations

import pytest

from gavamoe.evaluation.groups import SparsityGroups, by_group
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import TEXT_METRICS, score_texts

PREDICTIONS = ["a b c d", "a b", "", "c d a b", "a b"]
REFERENCES = ["a b c d", "b a", "c", "a b c d", "d d"]


def test_a_group_scores_as_its_rows_do_alone() -> None:
    scores = RowScores(Outputs.from_texts(PREDICTIONS, REFERENCES), TEXT_METRICS)
    groups = by_group(scores, [1, 0, 0, 1, None])
    assert list(groups) == ["0", "1"]
    assert groups["1"]["n"] == 2
    alone = score_texts(["a b c d", "c d a b"], ["a b c d", "a b c d"])
    assert groups["1"]["metrics"] == pytest.approx(alone)


def test_users_form_five_groups_of_equal_size_and_a_cold_group() -> None:
    groups = SparsityGroups.fit(range(1, 101))
    assert groups.labels([0, 1, 20, 21, 80, 81, 100, 500]) == ["cold", "1-20", "1-20", "21-40", "61-80"] + ["81+"] * 3


def test_users_with_the_same_count_are_in_the_same_group() -> None:
    groups = SparsityGroups.fit([1] * 50 + [2] * 10 + [3] * 20 + [9] * 20)
    assert groups.labels([1, 2, 3, 4, 9]) == ["1", "2", "3", "4+", "4+"]


def test_groups_are_in_numerical_order_with_cold_first() -> None:
    scores = RowScores(Outputs.from_texts(PREDICTIONS, REFERENCES), TEXT_METRICS)
    assert list(by_group(scores, ["21-40", "cold", "3", "100+", "4-20"])) == ["cold", "3", "4-20", "21-40", "100+"]
    assert list(by_group(scores, [4.5, 1.0, 10.0, 2.0, 2.0])) == ["1", "2", "4.5", "10"]
    assert list(by_group(scores, ["²", "b", "3", "a", None])) == ["3", "a", "b", "²"]


def test_labels_that_print_alike_are_one_group_of_all_their_rows() -> None:
    scores = RowScores(Outputs.from_texts(PREDICTIONS, REFERENCES), TEXT_METRICS)
    groups = by_group(scores, [0.3, 0.1 + 0.2, 0.3, 1, "1"])
    assert {name: group["n"] for name, group in groups.items()} == {"0.3": 3, "1": 2}
