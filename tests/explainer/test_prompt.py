"""What a prompt says, and what it leaves unsaid."""

from dataclasses import replace

import pytest

from gavamoe.data.dataset import ReviewDataset
from gavamoe.explainer.prompt import FEATURE, NO_FEATURE, RATING, render


def test_a_withheld_fact_leaves_no_trace_in_the_prompt():
    prompt = render(None, None)
    assert RATING not in prompt
    assert FEATURE not in prompt


def test_to_withhold_a_feature_is_not_to_say_that_there_is_none():
    prompts = [render(3, feature) for feature in (None, NO_FEATURE, "music")]
    assert len(set(prompts)) == 3
    assert all(FEATURE in prompt for prompt in prompts[1:])


@pytest.fixture
def train(dataset_path):
    """Training reviews, every third of which speaks of no feature."""
    frame = ReviewDataset.load(dataset_path).interactions("train")
    silent = frame["feature"].scatter(list(range(0, len(frame), 3)), None)
    return frame.with_columns(feature=silent)


def test_training_says_of_a_review_that_it_speaks_of_no_feature(explainer, train):
    stated = explainer.facts.of_reviews(train).feature
    assert list(stated) == train["feature"].fill_null(NO_FEATURE).to_list()


def test_where_no_features_are_known_no_review_is_said_to_lack_one(explainer, train):
    facts = replace(explainer.facts, catalog=replace(explainer.catalog, features=[], extractor=None))
    assert set(facts.of_reviews(train.with_columns(feature=None)).feature) == {None}
