"""POST /v1/explain and its stream: the same texts as the library, however requests share batches."""

import functools
import json
import threading

import polars as pl
import pytest
from helpers.service import events, explain, metric, pair, send_raw, until

from gavamoe.conditions import Condition

PAIRS = [(f"u{number + 1:02d}", f"i{number % 19 + 1:02d}") for number in range(12)] + [("nobody", "i03")]


def open_when(gate, condition):
    """Open the gate as soon as a condition holds, while the requests of the test wait."""

    def wait():
        until(condition)
        gate.open.set()

    threading.Thread(target=wait, daemon=True).start()


def in_worker(service):
    """Return how many pairs wait or are held at the gate."""
    return service.worker.waiting + len(service.worker._in_hand)


def refused(service):
    return metric(service, "gavamoe_refused_total", reason="queue_full")


@pytest.fixture(scope="module")
def alone(explainer):
    """Each pair's text, generated in a batch of its own by the library."""
    return {
        (user, item): explainer.explain_batch([(user, item)], experts=True, evidence=3)[0].to_dict()
        for user, item in PAIRS
    }


def test_texts_of_many_clients_in_shared_batches_are_those_of_each_pair_alone(make_service, ask, alone, gate):
    service = make_service(gate=gate, batch=8)
    open_when(gate, lambda: in_worker(service) == len(PAIRS))
    requests = [explain(pair(user, item), experts=True) for user, item in PAIRS]
    answers = ask(service, *requests)
    assert len(gate.sizes) < len(PAIRS)  # they were generated together
    assert max(gate.sizes) > 4
    for (user, item), response in zip(PAIRS, answers, strict=True):
        (answer,) = response.json()["explanations"]
        expected = alone[user, item]
        assert answer["source"] == "model"
        assert answer["text"] == expected["text"]
        assert {name: answer[name] for name in ("user", "item", "cluster", "feature", "finished", "cold_user")} == {
            name: expected[name] for name in ("user", "item", "cluster", "feature", "finished", "cold_user")
        }
        assert [each["text"] for each in answer["evidence"]] == [each["text"] for each in expected["evidence"]]
        scores = [[each["score"] for each in found["evidence"]] for found in (answer, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
        assert [sum(layer) for layer in answer["experts"]] == pytest.approx([1, 1], abs=1e-4)
        assert response.json()["run"] == service.run.id == response.headers["x-run"]


def test_many_pairs_in_one_request_come_back_in_their_order(service, ask, alone):
    (response,) = ask(service, explain(*(pair(*names) for names in reversed(PAIRS))))
    texts = [answer["text"] for answer in response.json()["explanations"]]
    assert texts == [alone[names]["text"] for names in reversed(PAIRS)]


def test_rating_distribution_and_place_on_the_map_are_those_of_stage_1(service, ask, explainer):
    import torch

    ids = [(explainer.catalog.user_id(user), explainer.catalog.item_id(item)) for user, item in PAIRS]
    user_B, item_B = (torch.tensor(side) for side in zip(*ids, strict=True))
    p_BR = explainer.preference.rating_distribution(user_B, item_B)
    point_B2 = service.run.map.place(explainer.preference.latent(user_B, item_B).numpy())
    (response,) = ask(service, explain(*(pair(*names) for names in PAIRS)))
    for answer, p_R, point_2 in zip(response.json()["explanations"], p_BR.tolist(), point_B2.tolist(), strict=True):
        assert [each["p"] for each in answer["rating_distribution"]] == pytest.approx(p_R, abs=1e-5)
        assert [each["rating"] for each in answer["rating_distribution"]] == [1, 2, 3, 4, 5]
        assert answer["map"] == pytest.approx(point_2, abs=1e-3)


@pytest.mark.parametrize(
    ("fields", "request_fields", "condition", "options"),
    [
        ({"rating": 1}, {}, Condition("given", "predicted"), {}),
        ({"feature": "music"}, {}, Condition("predicted", "given"), {}),
        ({}, {"condition": {"rating": "none", "feature": "none"}}, Condition("none", "none"), {}),
        ({"rating": 1}, {"condition": {"rating": "predicted"}}, Condition(), {}),
        ({}, {"seed": 7}, Condition(), {"seed": 7}),
        ({}, {"decoding": {"candidates": 4, "top_p": 0.5}}, Condition(), {"candidates": 4, "top_p": 0.5}),
        (
            {},
            {"decoding": {"temperature": 0, "max_new_tokens": 5}},
            Condition(),
            {"temperature": 0, "max_new_tokens": 5},
        ),
        ({}, {"decoding": {"num_beams": 2}}, Condition(), {"num_beams": 2}),
    ],
)
def test_condition_seed_and_decoding_mean_what_they_mean_in_the_library(
    service, ask, explainer, fields, request_fields, condition, options
):
    frame = pl.DataFrame({"user": ["u01"], "item": ["i02"], **{name: [value] for name, value in fields.items()}})
    expected = explainer.explain_batch(frame, condition, **options)[0]
    (response,) = ask(service, explain(pair("u01", "i02", **fields), **request_fields))
    (answer,) = response.json()["explanations"]
    assert answer["text"] == expected.text
    assert answer["conditions"] == expected.conditions


def test_a_stream_sends_words_that_join_to_the_text_and_shares_batches(make_service, ask, explainer, gate):
    service = make_service(gate=gate)
    open_when(gate, lambda: in_worker(service) == len(PAIRS))
    streams = [("POST", "/v1/explain/stream", {"pairs": [pair(*names)]}) for names in PAIRS]
    answers = ask(service, *streams)
    assert max(gate.sizes) > 4
    for (user, item), response in zip(PAIRS, answers, strict=True):
        assert response.headers["content-type"].startswith("text/event-stream")
        *words, (last, explanation) = events(response.text)
        assert last == "explanation"
        assert explanation["run"] == service.run.id
        expected = explainer.explain_batch([(user, item)], candidates=1)[0].text
        assert explanation["text"] == expected
        assert {name for name, _ in words} == {"word"}
        assert "".join(word["text"] for _, word in words) == expected
        assert len(words) > 2
    (again,) = ask(service, streams[0])  # from the store, as the same words
    assert events(again.text)[-1][1]["source"] == "store"
    assert "".join(word["text"] for _, word in events(again.text)[:-1]) == events(again.text)[-1][1]["text"]


def test_a_full_queue_is_429_with_retry_after_and_the_accepted_requests_are_answered(make_service, ask, gate):
    service = make_service(gate=gate, queue=3)
    open_when(gate, lambda: in_worker(service) + refused(service) == len(PAIRS))
    responses = ask(service, *(explain(pair(*names)) for names in PAIRS))
    statuses = [response.status_code for response in responses]
    assert statuses.count(429) >= len(PAIRS) - 6  # three wait, and at most three are in hand
    assert statuses.count(200) == len(PAIRS) - statuses.count(429) >= 3
    answer = responses[statuses.index(429)]
    assert int(answer.headers["retry-after"]) >= 1
    assert "queue is full" in answer.json()["error"]
    assert refused(service) == statuses.count(429)


def test_a_missed_deadline_is_504_or_a_template_if_the_request_allows_it(make_service, ask, gate):
    service = make_service(gate=gate)
    late, templated = ask(
        service,
        explain(pair("u01", "i01"), deadline_ms=50),
        explain(pair("u01", "i02"), deadline_ms=50, fallback="template", evidence=2),
    )
    assert late.status_code == 504
    assert "deadline" in late.json()["error"]
    (answer,) = templated.json()["explanations"]
    assert answer["source"] == "template"
    assert "Predicted rating" in answer["text"]
    assert answer["feature"] in answer["text"]
    assert answer["experts"] is None
    gate.open.set()
    (answer,) = ask(service, explain(pair("u01", "i02")))[0].json()["explanations"]
    assert answer["source"] == "model"  # a template is not stored
    assert metric(service, "gavamoe_refused_total", reason="deadline") == 2


def test_a_late_stream_ends_with_an_error_or_a_template(make_service, ask, gate):
    service = make_service(gate=gate)
    body = {"pairs": [pair("u01", "i01")], "deadline_ms": 50}
    late, templated = ask(
        service,
        ("POST", "/v1/explain/stream", body),
        ("POST", "/v1/explain/stream", {**body, "fallback": "template"}),
    )
    assert [name for name, _ in events(late.text)] == ["error"]
    ((name, answer),) = events(templated.text)
    assert (name, answer["source"]) == ("explanation", "template")


@pytest.mark.parametrize("path", ["/v1/explain", "/v1/explain/stream"])
def test_the_work_of_a_client_that_left_stops_and_is_not_stored(make_service, path, monkeypatch):
    service = make_service(store=None)
    long = {"pairs": [pair("u01", "i01")], "decoding": {"max_new_tokens": 256, "min_new_tokens": 256, "candidates": 1}}
    model, steps = service.run.explainer.model, []
    forward = model.forward

    @functools.wraps(forward)
    def counted(*args, **kwargs):
        steps.append(1)
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counted)
    send_raw(service, "POST", path, [json.dumps(long).encode()], gone=lambda: len(steps) >= 3)
    until(lambda: not service.worker._in_hand)
    assert 3 <= len(steps) < 200
    assert not service.store._memory
    assert metric(service, "gavamoe_refused_total", reason="client_gone") == 1


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("moment", ["before the headers", "before the first event"])
def test_a_stream_whose_client_leaves_early_frees_queue_and_worker(
    make_service, gate, monkeypatch, moment, spec_version
):
    service, calls = make_service(store=None, gate=gate), []
    monkeypatch.setattr(service.run.explainer, "explain_batch", lambda *args, **options: calls.append(args))
    body = json.dumps({"pairs": [pair("u01", "i01")], "deadline_ms": 60_000}).encode()
    answers = iter([] if moment == "before the headers" else 20 * [False])
    gone = functools.partial(next, answers, True)
    send_raw(service, "POST", "/v1/explain/stream", [body], gone=gone, spec_version=spec_version)
    assert metric(service, "gavamoe_refused_total", reason="client_gone") == 1
    assert service.worker.waiting == 0
    gate.open.set()
    until(lambda: not service.worker._in_hand)
    assert not calls


def test_one_reader_that_leaves_changes_no_other_text_of_the_batch(explainer):
    from gavamoe.explainer.streaming import TextReader

    expected = [each.text for each in explainer.explain_batch(PAIRS, candidates=1)]
    readers = [TextReader() for _ in PAIRS]
    readers[2].send = lambda piece: readers[2].abandoned.set()
    texts = [each.text for each in explainer.explain_batch(PAIRS, candidates=1, readers=readers)]
    assert len(texts[2]) < len(expected[2])
    del texts[2], expected[2]
    assert texts == expected


def test_beams_stop_when_every_reader_left(explainer, monkeypatch):
    from gavamoe.explainer.streaming import TextReader

    steps, forward = [], explainer.model.lm.forward
    monkeypatch.setattr(explainer.model.lm, "forward", lambda *a, **k: steps.append(1) or forward(*a, **k))
    decoding = explainer.decoding.with_options(num_beams=4, max_new_tokens=60, min_new_tokens=60)
    readers = [TextReader() for _ in PAIRS]
    for leaving in (readers[:1], readers):
        for reader in leaving:
            reader.abandoned.set()
        steps.clear()
        explainer.explain_batch(PAIRS, decoding=decoding, readers=readers)
        assert (len(steps) < 10) == (leaving is readers)


def test_experts_are_reported_for_every_token_and_the_tokens_join_to_the_text(service, ask, explainer):
    text = explainer.explain_batch([("u01", "i02")])[0].text
    (response,) = ask(service, ("POST", "/v1/experts", pair("u01", "i02", text=f"  {text} é ")))
    answer = response.json()
    assert "".join(token["text"] for token in answer["tokens"]) == f"{text} é"
    config = explainer.model.config
    assert (answer["layers"], answer["experts"]) == (2, config.experts)
    for token in answer["tokens"]:
        assert [len(set(layer)) for layer in token["layers"]] == [config.experts_per_token] * 2


def test_the_tokens_of_a_text_have_single_blanks_and_end_at_the_longest_text(service, ask):
    spaced, long = "the  story\nis", "the story is " * 100
    answers = ask(service, *(("POST", "/v1/experts", pair("u01", "i02", text=text)) for text in (spaced, long)))
    short, cut = ("".join(token["text"] for token in answer.json()["tokens"]) for answer in answers)
    assert short == "the story is"
    assert long.startswith(cut)
    assert 0 < len(cut) < len(long.strip())
    (schema,) = ask(service, ("GET", "/openapi.json"))
    described = " ".join(schema.json()["paths"]["/v1/experts"]["post"]["description"].split())
    assert "the text with single blanks, cut at the longest text of the run" in described
