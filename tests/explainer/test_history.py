"""Recommendations for a user whom the run does not know, from a history in the request."""

import pytest

from gavamoe.errors import DataError

HISTORY = [{"item": "i01", "rating": 5}, {"item": "i02", "rating": "1"}, {"item": "new", "rating": 3}]


def test_a_recommendation_from_a_history_excludes_its_items_and_differs_from_the_unknown_users(explainer):
    recommended = explainer.recommend(history=HISTORY, top=50)
    assert not {"i01", "i02"} & set(recommended["item"])
    assert recommended["rating"].is_sorted(descending=True)
    unknown = explainer.recommend("nobody", top=50)
    unknown = unknown.filter(~unknown["item"].is_in(["i01", "i02"]))
    assert sorted(recommended["item"]) == sorted(unknown["item"])
    assert recommended["rating"].to_list() != unknown["rating"].to_list()


def test_an_empty_history_recommends_as_for_the_unknown_user(explainer):
    assert explainer.recommend(history=[], top=50).equals(explainer.recommend("nobody", top=50))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([{"item": "i01"}], "entry 1 .item 'i01'.: no rating"),
        (
            [{"item": "i01", "rating": 4}, {"item": "i02", "rating": 9}],
            "entry 2 .item 'i02'.: rating 9 is off",
        ),
        ([{"item": "i01", "rating": "nan"}], "no rating"),
        ([{"rating": 4}], "entry 1: no item"),
        ([{"item": "new", "rating": 4}], "none of the 1 items"),
    ],
)
def test_an_invalid_history_is_refused_with_the_entry(explainer, history, message):
    with pytest.raises(DataError, match=message):
        explainer.recommend(history=history)
