"""Metrics of the right item and user: texts built to score 0 and 1, worlds with and without signal, properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.evaluation.bounds import AS_OBJECTS, measure_bounds, partners, plain_values, reasons, with_bounds
from gavamoe.evaluation.metrics import genericness, identifiability, statements
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.profiles import Profiles
from gavamoe.evaluation.row_scores import RowScores
from gavamoe.evaluation.score import PAIR_METRICS, further_metrics
from gavamoe.evaluation.training_texts import TrainingTexts
from gavamoe.evaluation.word_models import WordModels
from gavamoe.features.extractor import FeatureExtractor

EXTRACTOR = FeatureExtractor({"pool": 0.5, "staff": 0.5, "bar": 0.5}, {"warm": 1, "kind": 1, "cold": -1, "rude": -1})
# Two items, two users; the item decides the noun, the user the opening.
TRAIN = [
    ("ann", "inn", "Honestly, the pool was warm."),
    ("ann", "spa", "Honestly, the staff was kind."),
    ("bob", "inn", "Well well: the pool was cold."),
    ("bob", "spa", "Well well: the staff was kind."),
]


def training(rows=TRAIN, extractor=EXTRACTOR):
    found = TrainingTexts.from_reviews(pl.DataFrame(rows, schema=["user", "item", "text"], orient="row"), extractor)
    assert found is not None
    return found


def outputs(rows, trained=None):
    """Outputs of (user, item, prediction, reference) rows."""
    users, items, predictions, references = zip(*rows, strict=True)
    texts = Outputs.from_texts(predictions, references)
    return replace(texts, users=users, items=items, training=trained or training())


def scored(rows, trained=None):
    return RowScores(outputs(rows, trained), (*PAIR_METRICS, *further_metrics())).overall()


def test_texts_about_their_item_and_by_their_user_are_identified():
    result = scored([("ann", "inn", "honestly the pool", "x"), ("bob", "spa", "well well the staff", "x")])
    assert result["item_identifiability"] == result["user_identifiability"] == 1
    assert result["item_identifiability/R@10"] == result["user_identifiability/matched"] == 1


def test_texts_about_the_other_item_and_by_the_other_user_are_never_identified():
    result = scored([("bob", "spa", "honestly the pool", "x"), ("ann", "inn", "well well the staff", "x")])
    assert result["item_identifiability"] == result["user_identifiability"] == 0


@pytest.mark.parametrize("text", ["", "zzz qqq"])
def test_a_text_without_a_known_word_counts_as_a_guess(text):
    result = scored([("ann", "inn", text, "x")])
    assert result["item_identifiability"] == result["user_identifiability"] == 0.5


def test_cold_names_do_not_count_and_alone_leave_the_metric_undefined():
    known, cold = ("ann", "inn", "honestly the pool", "x"), ("new", "new", "honestly the pool", "x")
    assert scored([known, cold])["item_identifiability"] == 1
    assert scored([cold])["item_identifiability"] is scored([cold])["user_identifiability"] is None


def test_statements_are_supported_contradicted_or_unmentioned():
    result = scored(
        [
            ("ann", "inn", "the pool was warm", "x"),  # one review says so, another the opposite
            ("ann", "spa", "the staff was rude", "x"),
            ("ann", "spa", "the pool was warm . the staff isn't rude", "x"),
            ("ann", "new", "the pool was warm", "x"),  # nothing is known of the item
        ]
    )
    # "isn't rude" counts as praise, as the negation says.
    assert result["statement_precision"] == 2 / 4
    assert result["statement_contradicted"] == 1 / 4
    assert result["statement_unmentioned"] == 1 / 4
    assert result["statements per text"] == 4 / 3
    assert scored([("ann", "new", "the pool was warm", "x")])["statements per text"] is None
    assert scored([("ann", "inn", "a pool", "x")])["statement_precision"] is None  # nothing is stated


def test_recall_counts_the_statements_of_the_reference():
    reference = "the pool was warm and the staff was rude ."
    values = [
        scored([("ann", "inn", text, reference)])["statement_recall"]
        for text in (reference, "the staff was rude .", "the staff was kind , the pool was cold", "")
    ]
    assert values == [1, 0.5, 0, 0]
    assert scored([("ann", "inn", reference, "it was fine")])["statement_recall"] is None


def test_genericness_is_one_for_bigrams_of_many_items_and_zero_for_those_of_one():
    rows = [
        ("u", f"i{number}", f"a good film with {word('part', number)} {word('twist', number)}") for number in range(5)
    ]
    trained = training(rows)
    generic = [
        scored([("u", "i0", text, "x")], trained)["genericness"]
        for text in ("a good film with", "partaa twistaa twistab partab", "a good film xyz")
    ]
    assert generic == [1, 0, pytest.approx(2 / 3)]


def test_the_own_item_does_not_make_a_bigram_generic():
    trained = training([("u", "a", "big sea"), ("u", "b", "big sea"), ("u", "c", "old town")])
    values = [scored([("u", item, "big sea", "x")], trained)["genericness"] for item in ("a", "c", "unknown")]
    assert values == [0, 1, 1]


def word(*parts):
    """A word of letters alone, since normalization parts letters from digits."""
    return "".join(
        part if isinstance(part, str) else "abcdefghij"[part // 10] + "abcdefghij"[part % 10] for part in parts
    )


def world(signal, items=12, users=12, rows=600, seed=0):
    """Reviews whose words are those of their item and user (signal) or of nobody; training rows and scored rows."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        user, item = rng.integers(users), rng.integers(items)
        names = [word("item", item, k) for k in range(4)] + [word("user", user, k) for k in range(4)]
        words = names if signal else [word("any", k) for k in range(40)]
        made.append((f"u{user}", f"i{item}", " ".join(rng.choice(words, 6))))
    half = rows // 2
    return training(made[:half], None), [(user, item, text, text) for user, item, text in made[half:]]


def test_people_are_identified_in_a_world_with_a_signal_and_not_in_one_without():
    bounds = {signal: measure_bounds(outputs(world(signal)[1], world(signal)[0])) for signal in (True, False)}
    for name in AS_OBJECTS:
        assert bounds[True][name].ceiling > 0.95, name
        assert bounds[True][name].floor < 0.6, name
    assert bounds[False]["item_identifiability"].ceiling < 3 / 12
    assert abs(bounds[False]["user_identifiability"].ceiling - bounds[False]["user_identifiability"].floor) < 0.1
    assert "statement_precision" not in bounds[True]


def test_the_floor_of_the_user_is_a_text_of_the_same_item():
    # Every user reviews one kind of item: any text about the item looks like its reviewers', whoever wrote it.
    rows = [(f"u{kind}{who}", f"i{kind}", f"word{kind} thing{kind}") for kind in "abcd" for who in range(9)]
    scored_rows = [(user, item, text, text) for user, item, text in rows]
    bounds = measure_bounds(outputs(scored_rows, training(rows, None)))
    assert bounds["user_identifiability"].floor == bounds["user_identifiability"].ceiling > 0.8
    assert bounds["item_identifiability"].floor == 0
    few = measure_bounds(outputs(scored_rows[:20], training(rows, None)))
    assert few["user_identifiability"].floor is None
    assert few["user_identifiability"].ceiling > 0.8


def test_frequent_users_do_not_raise_the_matched_value():
    """A long profile is similar to any text; weighted by rows, other people's texts score at chance."""
    rng = np.random.default_rng(0)
    words = np.array([word("w", k // 10, k) for k in range(100)])
    counts = {f"u{k}": int(3 * 1.6**k) for k in range(9)}
    rows = [(u, f"i{rng.integers(5)}", " ".join(rng.choice(words, 8))) for u, n in counts.items() for _ in range(2 * n)]
    order = rng.permutation(len(rows))
    train, test = ([rows[k] for k in part] for part in (order[::2], order[1::2]))
    result = scored([(u, i, t, t) for u, i, t in test], training(train, None))
    assert result["user_identifiability"] > 0.65
    assert result["user_identifiability/matched"] == pytest.approx(0.5, abs=0.05)


WORDS = st.lists(st.sampled_from(["the", "pool", "staff", "warm", "cold", "was", "not", ".", "zzz"]), max_size=8)
ROW = st.tuples(st.sampled_from(["ann", "bob", "new"]), st.sampled_from(["inn", "spa", "new"]), WORDS, WORDS)


@settings(max_examples=15)
@given(rows=st.lists(ROW, min_size=1, max_size=8), seed=st.integers(0, 99))
def test_values_are_shares_and_do_not_depend_on_the_order_of_rows(rows, seed):
    texts = [(user, item, " ".join(prediction), " ".join(reference)) for user, item, prediction, reference in rows]
    shuffled = [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))]
    made = [outputs(each) for each in (texts, shuffled)]
    first, second = ({**RowScores(each, PAIR_METRICS).overall()} for each in made)
    assert first == pytest.approx(second)
    assert all(value is None or 0 <= value <= 1 for value in first.values())
    bounds = [measure_bounds(each) for each in made]
    assert bounds[0].keys() == bounds[1].keys()
    for name, found in bounds[0].items():
        assert found.ceiling == pytest.approx(bounds[1][name].ceiling), name
        assert found.floor == pytest.approx(bounds[1][name].floor), name


@settings(max_examples=60)
@given(
    groups=st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=14),
    labels=st.lists(st.sampled_from("abc"), min_size=14, max_size=14),
)
def test_a_partner_has_the_same_group_and_another_label(groups, labels):
    labels = labels[: len(groups)]
    found = partners(groups, labels, [str(row) for row in range(len(groups))])
    for row, partner in enumerate(found):
        if groups[row] is None:
            assert partner == -1
        elif partner >= 0:
            assert groups[partner] == groups[row]
            assert labels[partner] != labels[row]
    for group in (0, 1):
        members = [row for row, each in enumerate(groups) if each == group]
        largest = max((sum(labels[row] == label for row in members) for label in "abc"), default=0)
        if 2 * largest <= len(members):
            assert all(found[row] >= 0 for row in members)


def test_ranks_do_not_depend_on_how_many_rows_are_held_at_once(monkeypatch):
    trained, rows = world(True, rows=200)
    texts, names = [row[2] for row in rows], [row[1] for row in rows]
    together = trained.item_profiles.ranks(texts, names)
    monkeypatch.setattr("gavamoe.evaluation.profiles.MAX_CELLS", 30)
    apart = trained.item_profiles.ranks(texts, names)
    for name in ("above", "tied", "below_share", "matched_share"):
        np.testing.assert_array_equal(getattr(together, name), getattr(apart, name))


def test_a_single_profile_identifies_nothing():
    ranks = Profiles(["a", "a"], ["x", "y"]).ranks(["x"], ["a"])
    assert not ranks.known.any()


def test_results_hold_objects_where_a_value_needs_its_bounds_and_say_what_is_missing():
    made = outputs([("ann", "inn", "honestly the pool was warm", "the pool was cold")])
    metrics = RowScores(made, PAIR_METRICS).overall()
    listed = with_bounds(metrics, measure_bounds(made))
    assert listed["item_identifiability"].keys() == {"value", "floor", "ceiling"}
    assert plain_values(listed) == metrics
    untrained = replace(made, training=None)
    metrics = RowScores(untrained, PAIR_METRICS).overall()
    assert with_bounds(metrics, {})["user_identifiability"] == {"value": None, "floor": None, "ceiling": None}
    assert reasons(untrained, metrics, "why") == dict.fromkeys([metric.name for metric in PAIR_METRICS], "why")
    nameless = replace(made, items=None)
    why = reasons(nameless, RowScores(nameless, PAIR_METRICS).overall(), "why")
    assert why.keys() == {"item_identifiability", "statement_precision", "statement_recall", "genericness"}


def test_without_features_statements_are_not_measured():
    made = outputs([("ann", "inn", "honestly the pool was warm", "x")], training(extractor=None))
    assert RowScores(made, statements.METRICS).overall() == {"statement_precision": None, "statement_recall": None}
    assert "no features" in reasons(made, RowScores(made, PAIR_METRICS).overall(), "")["statement_precision"]


def test_more_training_texts_than_the_limit_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr("gavamoe.evaluation.training_texts.MAX_TEXTS", 2)
    found = training()
    assert found.users == ["ann", "bob"]
    assert found.describe() == "2 of 4, evenly spaced"


def test_the_gap_of_word_frequencies_is_positive_where_words_tell_the_name():
    for signal, low, high in ((True, 0.5, 5), (False, -0.2, 0.2)):
        trained, rows = world(signal)
        own = [row[1] for row in rows]
        gap = WordModels(trained.items, trained.texts).gap([row[2] for row in rows], own, [*own[1:], own[0]])
        assert low < gap < high
    assert WordModels(trained.items, trained.texts).gap(["anyaa"], ["nobody"], ["i1"]) is None


def test_training_texts_without_two_words_have_no_bigram():
    made = outputs([("ann", "inn", "one two", "x")], training([("ann", "inn", "one"), ("bob", "spa", "two")]))
    assert RowScores(made, genericness.METRICS).overall() == {"genericness": 0}
    assert RowScores(made, identifiability.METRICS).overall()["item_identifiability"] is not None
