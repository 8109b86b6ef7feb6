"""Histories in requests: the user is estimated from them in explanations, streams, templates and recommendations."""

from __future__ import annotations

import threading

import pytest
from helpers.service import events, explain, metric, open_service, pair, until

from gavamoe.service.served_run import ServedRun

HISTORY = [{"item": "i01", "rating": 5}, {"item": "i02", "rating": 1}, {"item": "new", "rating": 3, "text": "fine"}]
OTHER = [{"item": "i03", "rating": 1}, {"item": "i04", "rating": 5}]
SHARED = ("user", "item", "text", "cluster", "feature", "cold_user", "user_source", "finished")


def answers(response):
    assert response.status_code == 200, response.text
    return response.json()["explanations"]


def parts(explanation):
    return {name: explanation[name] for name in SHARED}


def test_pairs_with_and_without_histories_share_a_batch_and_are_explained_as_by_the_library(
    make_service, ask, explainer, gate
):
    service = make_service(gate=gate)
    rows = [("new", "i05", HISTORY), ("u01", "i06", None), ("u01", "i06", OTHER), ("nobody", "i07", None)]
    requests = [explain(pair("u02", "i01"))]  # held, so that the others wait together
    requests += [explain(pair(user, item, **({"history": history} if history else {}))) for user, item, history in rows]

    def open_gate():
        until(lambda: service.worker.waiting + len(service.worker._in_hand) == len(requests))
        gate.open.set()

    threading.Thread(target=open_gate, daemon=True).start()
    _, *responses = ask(service, *requests)
    assert len(gate.groups) == 1
    assert len(gate.sizes) < len(requests)
    found = [answers(response)[0] for response in responses]
    for answer, (user, item, history) in zip(found, rows, strict=True):
        expected = explainer.explain(user, item, history=history)
        assert parts(answer) == parts(expected.to_dict())
        assert answer["rating"] == pytest.approx(expected.rating, abs=1e-5)
        assert [each["text"] for each in answer["evidence"]] == [each.text for each in expected.evidence]
    assert [each["user_source"] for each in found] == ["history", "training", "history", "unknown"]


def test_rating_distribution_and_map_of_a_guest_are_those_of_the_estimate(service, ask, explainer):
    pairs = [pair("new", "i05", history=HISTORY), pair("new", "i05", history=OTHER), pair("new", "i05")]
    found = answers(*ask(service, explain(*pairs)))
    for answer in found:
        mean = sum(each["rating"] * each["p"] for each in answer["rating_distribution"])
        assert mean == pytest.approx(answer["rating"], abs=1e-3)
        assert len(answer["map"]) == 2
    assert len({tuple(answer["map"]) for answer in found}) == 3
    again = answers(*ask(service, explain(*pairs)))  # from the store, which does not keep these
    assert [each["source"] for each in again] == ["store"] * 3
    assert again == [{**answer, "source": "store"} for answer in found]


def test_a_stream_and_a_template_use_the_history(make_service, ask, explainer, gate):
    service = make_service(gate=gate)
    body = {"pairs": [pair("new", "i05", history=HISTORY)]}
    late = {"deadline_ms": 50, "fallback": "template", "evidence": 2}
    templated, streamed_late = ask(
        service, ("POST", "/v1/explain", {**body, **late}), ("POST", "/v1/explain/stream", {**body, **late})
    )
    expected = explainer.explain("new", "i05", evidence=2, history=HISTORY)
    for answer in (answers(templated)[0], events(streamed_late.text)[-1][1]):
        assert (answer["source"], answer["user_source"], answer["cold_user"]) == ("template", "history", True)
        assert answer["rating"] == pytest.approx(expected.rating, abs=1e-5)
        assert [each["text"] for each in answer["evidence"]] == [each.text for each in expected.evidence]
        assert answer["rating_distribution"]
    gate.open.set()
    (streamed,) = ask(service, ("POST", "/v1/explain/stream", body))
    *words, (last, answer) = events(streamed.text)
    assert last == "explanation"
    expected = explainer.explain("new", "i05", history=HISTORY, candidates=1)
    assert parts(answer) == parts(expected.to_dict())
    assert "".join(word["text"] for _, word in words) == expected.text


def test_the_store_tells_histories_and_their_texts_apart_but_not_their_order_or_their_unknown_items(service, ask):
    def source(**fields):
        return answers(*ask(service, explain(pair("u01", "i05", **fields))))[0]["source"]

    assert source() == "model"
    assert source(history=HISTORY) == "model"
    assert source(history=[{"item": "i01", "rating": 4}, *HISTORY[1:]]) == "model"
    assert source(history=OTHER) == "model"
    same = [*reversed(HISTORY[:2]), {"item": "another unknown", "rating": 1}]
    assert source(history=same) == source(history=HISTORY) == source() == "store"
    written = [{**HISTORY[0], "text": "a story to remember"}, *HISTORY[1:]]
    assert [source(history=written), source(history=[*reversed(written)])] == ["model", "store"]
    assert metric(service, "gavamoe_store_lookups_total", outcome="miss") == 5


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([{"item": "no\nsuch", "rating": 4}, {"item": "neither", "rating": 2}], "none of its 2 items has a training"),
        ([{"item": "i01", "rating": 4}, {"item": "i\n02", "rating": 9}], "entry 2 (item 'i?02'): rating 9 is off the"),
    ],
)
def test_an_invalid_history_is_refused_with_its_place_and_no_other_request_fails(service, ask, entries, line):
    pairs = [pair("u01", "i01"), pair("new", "i02", history=entries)]
    refusals = ask(
        service,
        explain(*pairs),
        ("POST", "/v1/explain/stream", {"pairs": pairs[1:]}),
        ("POST", "/v1/recommend", {"history": entries}),
        explain(pair("u01", "i03")),
    )
    *refusals, fine = refusals
    assert answers(fine)
    places = ("pairs.1.history: ", "pairs.0.history: ", "history: ")
    for response, place in zip(refusals, places, strict=True):
        assert response.status_code == 422
        error = response.json()["error"]
        assert error.startswith(place + line)
        assert "\n" not in error


def test_a_recommendation_from_a_history_leaves_its_items_out_and_is_explained_with_it(service, ask, explainer):
    body = {"history": HISTORY, "top": 3, "explain": True}
    (response,) = ask(service, ("POST", "/v1/recommend", body))
    answer = response.json()
    expected = explainer.recommend(history=HISTORY, top=3)
    assert answer["user"] is None
    assert [row["item"] for row in answer["items"]] == expected["item"].to_list()
    assert [row["rating"] for row in answer["items"]] == pytest.approx(expected["rating"].to_list(), abs=1e-5)
    assert not any("why" in row for row in answer["items"])
    pairs = [("", item) for item in expected["item"]]
    explained = explainer.explain_batch(pairs, histories=[HISTORY] * len(pairs))
    assert [(row["text"], row["cluster"]) for row in answer["items"]] == [
        (each.text, each.cluster) for each in explained
    ]
    (everything,) = ask(service, ("POST", "/v1/recommend", {"user": "u01", "history": HISTORY, "top": 100}))
    assert {row["item"] for row in everything.json()["items"]}.isdisjoint({"i01", "i02"})
    assert len(everything.json()["items"]) == explainer.catalog.n_items - 2  # the reviews of u01 do not count


def test_a_run_of_stage_1_alone_recommends_from_a_history(rating_run_path, ask, explainer):
    service = open_service(ServedRun.load(rating_run_path), None)
    try:
        recommended, refused = ask(
            service,
            ("POST", "/v1/recommend", {"history": HISTORY, "top": 3}),
            explain(pair("new", "i05", history=HISTORY)),
        )
    finally:
        service.close()
    expected = explainer.recommend(history=HISTORY, top=3)
    assert [row["item"] for row in recommended.json()["items"]] == expected["item"].to_list()
    assert refused.status_code == 409
