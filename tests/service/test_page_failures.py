"""What the page says where something fails, against a mock that fails on demand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("selenium")

from helpers.browser import Page, keep_screenshot
from helpers.service import until
from selenium.webdriver.common.keys import Keys

PAIR = "#/explain?user=u01&item=i02"
WORDS = ".word"


REFUSALS = [
    (403, "The service says: the mock answers 403."),
    (429, "all the requests it can take. Try again in 3 s"),
    (503, "The service says: the mock answers 503."),
    (504, "ran out of time"),
    (422, "The service says: the mock answers 422."),
    (500, "The service says: the mock answers 500."),
]


def test_a_refused_text_is_told_in_a_sentence_and_can_be_tried_again(mock_page, faults):
    mock_page.open()
    faults.status = {"/v1/explain": REFUSALS[0][0]}
    mock_page.go(PAIR)
    for status, says in REFUSALS:
        faults.status = {"/v1/explain": status}
        mock_page.wait(".card-text .notice-error button").click()
        mock_page.wait(".card-text .notice-error", says)
        assert mock_page.wait(".notice-error").get_attribute("role") == "alert"
    keep_screenshot(mock_page, "refused", whole=False)
    faults.status = {}
    mock_page.wait(".notice-error button", "Try again").click()
    mock_page.wait(WORDS)
    assert not mock_page.all(".notice-error")


@pytest.mark.parametrize(
    "view", ["#/clusters", "#/items", "#/items/i02", "#/users/u01", "#/explain?user=u01", "#/explain"]
)
def test_a_view_that_cannot_be_filled_says_so(mock_page, faults, view):
    faults.status = {"/v1/": 500}
    mock_page.open(view)
    retry = mock_page.wait(".notice-error, .empty", "The service says")
    faults.status = {}
    if "notice" in retry.get_attribute("class"):
        retry.find_element("css selector", "button").click()
        mock_page.wait(".card, .rows li")
        assert not mock_page.all(".notice-error")


def test_cards_that_wait_for_a_refused_text_say_so(mock_page, faults):
    faults.status = {"/v1/explain": 500}
    mock_page.open(PAIR)
    mock_page.wait(".card-rating .empty", "Comes with the text")
    mock_page.wait(".card-map .map")
    assert "North of Winter" in mock_page.texts(".card-text h2")[0]
    assert not mock_page.all(".skeleton, .waiting")
    mock_page.go("#/compare?item=i02&a=u01&b=u02")
    mock_page.wait(".card-difference .empty", "Comes with both texts")
    assert not mock_page.all(".verdict .skeleton")


def test_a_text_that_breaks_off_keeps_its_words_and_says_why(mock_page, faults):
    faults.break_stream_after = 4
    mock_page.open(PAIR)
    mock_page.wait(".notice-error", "The text broke off: the generation stopped: out of memory.")
    assert len(mock_page.all(".piece")) == 4


def test_a_stopped_text_stops(mock_page, faults):
    faults.word_delay = 0.3
    mock_page.open(PAIR)
    mock_page.wait(".piece")
    keep_screenshot(mock_page, "writing", whole=False)
    mock_page.wait(".tools button", "Stop").click()
    mock_page.wait(".readout", "Stopped")
    mock_page.wait(".card-map .map")
    assert not mock_page.all(".skeleton, .waiting")
    written = len(mock_page.all(".piece"))
    faults.word_delay = 0.0
    mock_page.wait(".tools button", "Write again").click()
    mock_page.wait(WORDS)
    assert len(mock_page.all(WORDS)) > written


def test_a_comparison_that_is_stopped_waits_for_nothing(mock_page, faults):
    faults.word_delay = 0.3
    mock_page.open("#/compare?item=i02&a=u01&b=u02")
    for _ in range(2):
        mock_page.wait(".tools button", "Stop").click()
    mock_page.wait(".card-difference .empty", "Comes with both texts")
    mock_page.wait(".card-map .map")
    assert not mock_page.all(".skeleton, .waiting")


def test_another_pair_takes_the_place_of_one_still_being_written(mock_page, faults):
    faults.word_delay = 0.2
    mock_page.open(PAIR)
    mock_page.wait(".piece")
    faults.word_delay = 0.0
    mock_page.go("#/explain?user=u02&item=i03")
    mock_page.wait(WORDS)
    assert "u02" in mock_page.texts(".card-text h2")[0]
    text = mock_page.texts(".words")[0]
    mock_page.js("return new Promise((go) => setTimeout(go, 500))")
    assert mock_page.texts(".words")[0] == text


def test_a_final_text_other_than_the_draft_is_explained(mock_page, faults):
    faults.final_differs = True
    mock_page.open(PAIR)
    mock_page.wait(".remark", "first draft")
    assert mock_page.texts(".words") == ["the final text is another draft."]


def test_a_person_and_an_item_without_reviews_are_named_as_such(mock_page):
    mock_page.open("#/explain?user=nobody&item=nothing")
    mock_page.wait(".remark", "nobody has no training review")
    mock_page.wait(".remark", "nothing has no training review")
    mock_page.wait(".card-evidence .empty", "No training review of this item")
    mock_page.go("#/users/nobody")
    mock_page.wait(".lead", "hold no review by this user")
    mock_page.wait(".remark", "A fallback: the user is unknown")
    mock_page.go("#/items/nothing")
    mock_page.wait(".card-profile .empty", "hold no review of this item")
    mock_page.go("#/clusters/77")
    mock_page.wait(".notice", "There is no cluster 77")


def test_a_form_without_a_choice_says_what_is_missing(mock_page):
    mock_page.open()
    mock_page.wait(".examples a")
    mock_page.wait("button", "Recommend").click()
    mock_page.wait(".form-error", "Pick a user first")
    assert mock_page.js("return document.activeElement.getAttribute('role')") == "combobox"
    mock_page.press("u01", Keys.TAB, Keys.ENTER)
    mock_page.wait(".form-error", "Pick an item")


def test_the_list_of_a_field_offers_what_was_typed_as_new(mock_page):
    mock_page.open()
    mock_page.wait(".examples a")
    field = mock_page.wait(".combobox input")
    field.send_keys("someone new")
    mock_page.wait("[role=option]", "use as typed").click()
    assert field.get_property("value") == "someone new"


def fill_in_the_pair(page: Page, item: str, *keys: str) -> None:
    page.open()
    page.wait(".examples a")
    page.wait(".combobox input").send_keys("u01", Keys.TAB)
    page.press(item, *keys)


@pytest.mark.parametrize("delay", [0.0, 0.4], ids=["fast", "slow"])
def test_an_exact_title_and_enter_explain_the_item_of_that_title(mock_page, faults, delay):
    faults.delay = delay
    fill_in_the_pair(mock_page, "North of Winter", Keys.ENTER)
    mock_page.wait(WORDS)
    assert "item=i02" in mock_page.driver.current_url


def test_an_exact_title_is_taken_when_its_field_is_left(mock_page):
    fill_in_the_pair(mock_page, "North of Winter")
    mock_page.wait("[role=option]", "North of Winter")
    assert not mock_page.all(".options .new")
    mock_page.press(Keys.TAB)
    mock_page.wait("button", "Explain").click()
    mock_page.wait(WORDS)
    assert "item=i02" in mock_page.driver.current_url


def test_a_typed_text_that_is_no_option_stays_as_typed(mock_page):
    fill_in_the_pair(mock_page, "North of", Keys.ENTER)
    mock_page.wait(WORDS)
    assert "item=North+of" in mock_page.driver.current_url.replace("%20", "+")


def test_a_service_with_a_key_is_asked_for_it_once(mock_page, faults):
    faults.key = "secret"
    mock_page.open("#/clusters")
    mock_page.wait("dialog[open] input").send_keys("wrong", Keys.ENTER)
    mock_page.wait("dialog[open]", "The last key was not accepted")
    keep_screenshot(mock_page, "key", whole=False)
    mock_page.wait("dialog[open] input").send_keys("secret", Keys.ENTER)
    mock_page.wait(".card-cluster")
    mock_page.open(PAIR)
    mock_page.wait(WORDS)
    assert not mock_page.all("dialog[open]")


@pytest.fixture
def no_site_data(driver: Any) -> Iterator[None]:
    """A browser that blocks site data: the stores throw where they are named."""
    script = """
        for (const name of ["localStorage", "sessionStorage"])
            Object.defineProperty(window, name, {get() { throw new DOMException("denied", "SecurityError"); }});
    """
    added = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    yield
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.usefixtures("no_site_data")
def test_the_page_works_where_site_data_are_blocked(mock_page, faults):
    faults.key = "secret"
    mock_page.open("#/clusters")
    mock_page.wait("dialog[open] input").send_keys("secret", Keys.ENTER)
    mock_page.wait(".card-cluster")
    mock_page.go(PAIR)
    mock_page.wait(WORDS)
    assert not mock_page.all("dialog[open]"), "the key is asked for once"
    mock_page.wait("#theme").click()
    assert mock_page.js("return document.documentElement.dataset.theme") == "dark"


def test_a_lost_service_is_told_in_a_sentence(mock_page):
    mock_page.open()
    mock_page.wait(".examples a")
    network: dict[str, Any] = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    mock_page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network | {"offline": True})
    try:
        mock_page.go(PAIR)
        mock_page.wait(".notice-error", "cannot be reached")
    finally:
        mock_page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", network | {"offline": False})


def test_a_field_shows_why_it_has_no_suggestions(mock_page, faults):
    mock_page.open()
    mock_page.wait(".examples a")
    faults.status = {"/v1/users": 500}
    mock_page.wait(".combobox input").send_keys("u")
    mock_page.wait(".option-error", "The service says")


def test_a_field_without_suggestions_offers_none_of_before(mock_page, faults):
    mock_page.open()
    mock_page.wait(".examples a")
    field = mock_page.wait(".combobox input")
    field.send_keys("u")
    mock_page.wait("[role=option]", "u01")
    faults.status = {"/v1/users": 500}
    field.send_keys("0")
    mock_page.wait(".option-error")
    mock_page.press(Keys.ARROW_DOWN, Keys.ENTER)
    mock_page.wait(".form-error", "Pick an item")
    assert field.get_property("value") == "u0"
    assert not [line for line in mock_page.console_errors() if "Uncaught" in line]


def test_a_search_that_is_taken_back_leaves_the_list_as_it_was(mock_page, faults):
    mock_page.open("#/items")
    mock_page.wait(".results .note", "The most reviewed items")
    faults.delay = 1.0
    field = mock_page.wait("#item-search")
    field.send_keys("north")
    until(lambda: "q=north" in mock_page.driver.current_url)
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    until(lambda: "q=" not in mock_page.driver.current_url)
    mock_page.js("return new Promise((go) => setTimeout(go, 1500))")
    assert mock_page.texts(".results .note") == ["The most reviewed items"]


def test_a_search_that_failed_leaves_no_error_when_it_is_taken_back(mock_page, faults):
    mock_page.open("#/items")
    mock_page.wait(".results .note", "The most reviewed items")
    faults.status = {"/v1/items": 500}
    mock_page.go("#/items?q=the")
    mock_page.wait(".results .notice-error")
    faults.status = {}
    mock_page.go("#/items")
    mock_page.wait(".results .note", "The most reviewed items")
    assert not mock_page.all(".results .notice-error")


def test_feedback_that_was_not_kept_is_not_marked_as_kept(mock_page, faults, mock):
    mock_page.open(PAIR)
    button = mock_page.wait(".feedback button", "Useful")
    faults.status = {"/v1/feedback": 500}
    button.click()
    mock_page.wait(".feedback-reply", "Not kept.")
    assert button.get_attribute("aria-pressed") == "false"
    faults.status = {}
    button.click()
    mock_page.wait(".feedback-reply", "Thank you")
    sent = mock[1].state.feedback[-1]
    assert (sent["user"], sent["item"], sent["useful"]) == ("u01", "i02", True)
