"""The service of a run of stage 1 alone: ratings are answered, texts are refused in one line, the page goes on."""

from __future__ import annotations

import pytest
from helpers.service import explain, open_service, pair
from helpers.serving import served_mock

from gavamoe.service.served_run import ServedRun


@pytest.fixture(scope="module")
def rating_service_run(rating_run_path):
    return ServedRun.load(rating_run_path)


@pytest.fixture
def rating_service(rating_service_run):
    service = open_service(rating_service_run, None)
    yield service
    service.close()


def test_what_stage_1_knows_is_answered(rating_service, ask, explainer):
    paths = ("/v1/run", "/v1/clusters", "/v1/map", "/v1/users?prefix=", "/v1/items?prefix=")
    requests = [("GET", path) for path in (*paths, "/v1/users/u01", "/v1/items/i01")]
    answers = ask(rating_service, *requests, ("POST", "/v1/recommend", {"user": "u01", "top": 3}))
    assert {answer.status_code for answer in answers} == {200}
    run, clusters, _, _, _, user, item, recommended = (answer.json() for answer in answers)
    assert (run["texts"], run["layers"], run["features"]) == (False, 0, [])
    assert clusters["clusters"]
    assert user["history"]
    assert item["features"] == []
    assert [row["item"] for row in recommended["items"]] == explainer.recommend("u01", 3)["item"].to_list()


@pytest.mark.parametrize(
    "request_",
    [
        explain(pair("u01", "i01")),
        explain(pair("u01", "i01"), fallback="template"),
        ("POST", "/v1/explain/stream", {"pairs": [pair("u01", "i01")]}),
        ("POST", "/v1/experts", {**pair("u01", "i01"), "text": "fine"}),
        ("POST", "/v1/recommend", {"user": "u01", "explain": True}),
    ],
)
def test_a_text_is_refused_in_one_line(rating_service, ask, request_):
    (answer,) = ask(rating_service, request_)
    assert answer.status_code == 409
    assert "stage 1 alone" in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_run_with_texts_says_that_it_writes(service, ask):
    (answer,) = ask(service, ("GET", "/v1/run"))
    assert answer.json()["texts"] is True


@pytest.mark.slow
def test_the_page_recommends_where_it_would_explain(driver, rating_service_run):
    from helpers.browser import Page

    from gavamoe.service.app import create_app

    with served_mock(create_app(open_service(rating_service_run, None))) as url:
        page = Page(driver, url)
        page.forget()
        page.open("#/explain?user=u01")
        page.wait(".ranking li")
        assert page.js("return document.querySelector('h1').textContent") == "What would someone like?"
        assert page.js("return document.querySelectorAll('nav a').length") == 3
        for address in ("#/clusters", "#/items/i01", "#/users/u01", "#/compare"):
            page.go(address)
            page.wait("h1")
        assert not page.console_errors()
