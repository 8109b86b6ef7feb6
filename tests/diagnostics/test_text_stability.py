"""Texts under other gates: what stays to the letter, what changes, and the table of a diagnosis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.data.dataset import ReviewDataset
from gavamoe.diagnostics.routing import changed_share, match_gates
from gavamoe.diagnostics.text_stability import TextStability
from gavamoe.explainer.explainer import Explainer
from gavamoe.language.mbr import likeness
from gavamoe.pipeline.diagnose import diagnose_run


@pytest.fixture(scope="module")
def stability(run_path, dataset_path):
    pairs = ReviewDataset.load(dataset_path).interactions("valid").unique(["user_id", "item_id"], maintain_order=True)
    return TextStability(Explainer.from_pretrained(run_path), pairs[:12], seed=0)


def test_texts_of_unchanged_gates_stay_to_the_letter(stability):
    same = stability.with_gates([stability.gate_N, stability.gate_N])
    assert (same.changed, same.likeness) == (0.0, None)


def test_only_pairs_whose_gate_changes_can_change_their_text(stability):
    gates = stability.explainer.context.gates.count
    other_N = stability.gate_N.copy()
    other_N[:3] = (other_N[:3] + 1) % gates
    change = stability.with_gates([other_N])
    assert change.changed <= 3 / len(other_N)
    everywhere = stability.with_gates([(stability.gate_N + 1) % gates])
    assert everywhere.changed >= change.changed
    assert stability._write(stability.explainer, stability.pairs, 0) == stability.texts  # the run itself is unchanged


def test_another_draw_is_the_measure_of_chance(stability):
    draw = stability.with_another_draw()
    assert 0 < draw.changed <= 1
    assert 0 <= draw.likeness < 1


@pytest.mark.slow
def test_the_diagnosis_reports_texts_by_what_was_changed(run_path, tmp_path):
    found = diagnose_run(run_path, tmp_path, seeds=1)["routing"]
    assert found["texts"].keys() == {"another draw", *found["changes"]}
    page = (tmp_path / "report.html").read_text()
    assert "random numbers of decoding, same gates" in page


texts = st.lists(st.integers(0, 5), max_size=8)


@given(texts, texts)
def test_likeness_is_symmetric_and_one_for_equal_texts_only(one, other):
    assert 0 <= likeness(one, other) <= 1 + 1e-9
    assert likeness(one, other) == pytest.approx(likeness(other, one))
    if len(one) > 1:
        assert likeness(one, one) == pytest.approx(1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.permutations(range(4)))
def test_renamed_gates_are_matched_whatever_their_names(gates, names):
    one_N, names_K = np.array(gates), np.array(names)
    other_N = names_K[one_N]
    matched_K = match_gates(one_N, other_N, gates=4)
    assert (matched_K[other_N] == one_N).all()
    assert changed_share(one_N, other_N) == 0
