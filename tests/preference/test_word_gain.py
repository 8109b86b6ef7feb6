"""Unigram models per group: their gain on held-out texts measures what groups tell about words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.simulate import World, simulate
from gavamoe.preference.word_gain import WordCounts, text_gain


def gain(world: World, shuffle: bool = False) -> float:
    """The gain of a world's true groups, or of shuffled ones, on every fourth review."""
    frame = simulate(world)
    held_out = np.arange(len(frame)) % 4 == 0
    texts, group = frame["text"].to_numpy(), frame["cluster"].to_numpy()
    if shuffle:
        group = np.random.default_rng(0).permutation(group)
    counts = WordCounts.of(texts[~held_out].tolist(), texts[held_out].tolist())
    return text_gain(counts, group[~held_out], group[held_out]).nats


def test_the_gain_of_the_true_groups_rises_with_style():
    gains = [gain(World(users=60, items=40, reviews=1600, style=style)) for style in (0.0, 0.25, 0.5, 1.0)]
    assert gains == sorted(gains)
    assert gains[0] > 0  # groups praise different features
    assert gains[-1] > 5 * gains[0]


def test_groups_without_any_relation_to_the_texts_gain_nothing():
    assert gain(World(users=60, items=40, reviews=1600, style=1.0), shuffle=True) == pytest.approx(0, abs=0.005)


def test_the_gain_of_groups_that_share_no_word_is_the_entropy_of_the_groups():
    train, group = ["a b"] * 5000 + ["c d"] * 5000, np.repeat([0, 1], 5000)
    counts = WordCounts.of(train, ["a b", "d c"])
    assert text_gain(counts, group, np.array([0, 1])).nats == pytest.approx(np.log(2), abs=0.01)
    assert text_gain(counts, group, np.array([1, 0])).nats < -1


def test_unseen_words_count_in_the_held_out_texts():
    counts = WordCounts.of(["a b", "a"], ["a new word", ""])
    assert counts.words.tolist() == ["a", "b"]
    assert counts.held_out.toarray().tolist() == [[1, 0, 2], [0, 0, 0]]


@pytest.mark.parametrize(("train", "held_out"), [([], ["a"]), (["  "], ["a"]), (["a"], []), (["a"], [" "])])
def test_texts_without_words_have_no_counts(train, held_out):
    assert WordCounts.of(train, held_out) is None


@given(st.lists(st.tuples(st.sampled_from(["a b", "b c", "c c d", "e"]), st.integers(0, 2)), min_size=2, max_size=30))
@settings(max_examples=50)
def test_probabilities_sum_to_one_and_a_single_group_gains_nothing(rows):
    texts, groups = [text for text, _ in rows], np.array([group for _, group in rows])
    counts = WordCounts.of(texts, texts)
    assert counts.background().sum() == pytest.approx(1)
    assert counts.group_counts(groups, 3).sum() == counts.train.sum()
    zeros = np.zeros(len(texts), dtype=int)
    assert abs(text_gain(counts, zeros, zeros).nats) < 0.2
