"""Recommendations and explanations for users whom the run does not know, from histories in the request."""

from dataclasses import replace

import polars as pl
import pytest

from gavamoe.conditions import Condition
from gavamoe.errors import DataError
from gavamoe.language.template import PromptTemplate

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
        ([{"item": "i01", "rating": 4, "text": 7}], "entry 1 .item 'i01'.: the text is not a string"),
        ([{"item": "new", "rating": 4}], "none of its 1 items"),
    ],
)
def test_an_invalid_history_is_refused_with_the_entry(explainer, history, message):
    with pytest.raises(DataError, match=message):
        explainer.recommend(history=history)


OTHER = [{"item": "i03", "rating": 1}, {"item": "i04", "rating": 5}]


def explained(explainer, pairs, histories, **options):
    found = explainer.explain_batch(pairs, histories=histories, experts=True, evidence=2, **options)
    return [each.to_dict() for each in found]


def test_a_guests_explanation_does_not_depend_on_the_other_pairs_of_the_request(explainer):
    alone = explained(explainer, [("new", "i05")], [HISTORY])
    pairs = [("other", "i05"), ("u01", "i06"), ("new", "i05"), ("nobody", "i07")]
    together = explained(explainer, pairs, [OTHER, None, HISTORY, []])
    for key in ("text", "cluster", "experts", "feature"):
        assert together[2][key] == alone[0][key]
    quoted, quoted_alone = ([row["text"] for row in each["evidence"]] for each in (together[2], alone[0]))
    assert quoted == quoted_alone
    assert together[2]["rating"] == pytest.approx(alone[0]["rating"])
    assert together[2]["responsibilities"] == pytest.approx(alone[0]["responsibilities"], abs=1e-5)
    assert [each["user_source"] for each in together] == ["history", "training", "history", "unknown"]
    assert [each["cold_user"] for each in together] == [True, False, True, True]


def test_pairs_without_a_history_are_explained_as_ever(explainer):
    pairs = [("u01", "i06"), ("nobody", "i07")]
    plain = [each.to_dict() for each in explainer.explain_batch(pairs, experts=True, evidence=2)]
    beside_a_guest = explained(explainer, [*pairs, ("new", "i05")], [None, None, HISTORY])
    assert beside_a_guest[:2] == plain


def test_the_ratings_of_an_explanation_and_a_recommendation_from_a_history_are_equal(explainer):
    best = explainer.recommend(history=HISTORY, top=1).row(0, named=True)
    explanation = explainer.explain("new", best["item"], history=HISTORY)
    assert explanation.rating == pytest.approx(best["rating"])
    assert sum(explanation.responsibilities) == pytest.approx(1, abs=1e-5)


def test_the_order_of_a_history_and_unknown_items_in_it_change_nothing(explainer):
    shuffled = [*reversed(HISTORY[:2]), {"item": "another unknown", "rating": 2}]
    assert explainer.explain("new", "i05", history=HISTORY) == explainer.explain("new", "i05", history=shuffled)


def test_a_history_counts_for_a_known_user_too(explainer):
    by_name, by_history = explainer.explain("u01", "i05"), explainer.explain("u01", "i05", history=OTHER)
    assert (by_name.user_source, by_history.user_source) == ("training", "history")
    assert by_history.rating == explainer.explain("new", "i05", history=OTHER).rating


def test_the_streamed_text_of_a_guest_is_the_explained_one(explainer):
    stream = explainer.stream("new", "i05", history=HISTORY)
    pieces = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            explanation = end.value
            break
    assert "".join(pieces) == explanation.text
    assert explanation == explainer.explain("new", "i05", history=HISTORY, candidates=1)


WRITTEN = [
    {"item": "i01", "rating": 5, "text": "A story that I will remember . The ending was <b>too</b> long ."},
    {"item": "i02", "rating": 1, "text": "Nothing about this film works at all ."},
    {"item": "new", "rating": 3, "text": "An item that the run has never seen ."},
]


def prompts(explainer, pairs, histories):
    """Return what prompts in words quote of each pair's user."""
    view, guest_ids = explainer.with_guests(histories)
    template = PromptTemplate.from_setting("natural", ("1", "2", "3", "4", "5"), 192, chat=False)
    context = replace(view.context, template=template, history_quotes=3)
    frame = pl.DataFrame(pairs, schema=["user", "item"], orient="row")
    return [list(map(tuple, quotations)) for quotations in context.build(frame, Condition(), guest_ids)[0].history]


def test_a_prompt_quotes_what_the_guest_wrote_about_other_known_items_and_nobody_elses_prompt_does(explainer):
    pairs = [("new", "i05"), ("new", "i01"), ("other", "i05"), ("u01", "i05")]
    quoted = prompts(explainer, pairs, [WRITTEN, WRITTEN, OTHER, None])
    texts = [{text for _, text in quotations} for quotations in quoted]
    assert {"Nothing about this film works at all ."} == texts[1]  # the review of i01 is that of the pair
    assert texts[0] > texts[1]
    assert not any("never seen" in text or "<b>" in text for text in texts[0])
    assert texts[2] == set()
    assert not texts[3] & texts[0]


def test_what_a_prompt_quotes_of_a_guest_does_not_depend_on_other_guests(explainer):
    alone = prompts(explainer, [("new", "i05")], [WRITTEN])
    further = [{"item": "i03", "rating": 2, "text": "Nothing works here , nothing about this story , at all ."}]
    assert prompts(explainer, [("other", "i05"), ("new", "i05")], [further, WRITTEN])[1] == alone[0]


def test_the_estimate_of_a_guest_does_not_depend_on_texts(explainer):
    rated = [{"item": entry["item"], "rating": entry["rating"]} for entry in WRITTEN]
    with_texts, without = (explainer.explain("new", "i05", history=history) for history in (WRITTEN, rated))
    assert with_texts.rating == without.rating
    assert with_texts.responsibilities == without.responsibilities
