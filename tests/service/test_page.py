"""The page of `gavamoe serve` in headless Chromium: what a person sees, does and hears."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("selenium")

from helpers.browser import LAPTOP, NARROW, PHONE, Page, keep_screenshot
from helpers.mock_service import IMAGE_ITEM, SCRIPT_USER
from helpers.service import until
from helpers.serving import ask, quoted
from selenium.webdriver.common.keys import Keys

DONE = ".word"  # words carry their experts once a text is finished


def users(url: str, count: int) -> list[str]:
    found = ask(url, "/v1/users?prefix=&limit=10")["users"]
    return [row["user"] for row in found if "<" not in row["user"]][:count]


def an_item(url: str) -> str:
    found = ask(url, "/v1/items?prefix=&limit=10")["items"]
    item: str = next(row["item"] for row in found if "<" not in row["item"])
    return item


def explain_address(user: str, item: str) -> str:
    return f"#/explain?user={quoted(user)}&item={quoted(item)}"


def plain(text: str) -> str:
    """The letters of a text: the page sets punctuation closer than a corpus does."""
    return re.sub(r"\s+", "", text)


def explanation_of(page: Page, user: str, item: str) -> Any:
    decoding = {"candidates": 1}  # the page streams a single draft
    body = {"pairs": [{"user": user, "item": item}], "evidence": 5, "experts": True, "decoding": decoding}
    return ask(page.url, "/v1/explain", body)["explanations"][0]


@pytest.fixture
def pair(page: Page) -> tuple[str, str]:
    return users(page.url, 1)[0], an_item(page.url)


def test_the_text_streams_in_word_by_word_and_ends_as_the_explanation(page, pair):
    page.open()
    page.wait(".examples a")
    page.js("""
        window.counts = new Set();
        new MutationObserver(() => counts.add(document.querySelectorAll(".piece").length))
            .observe(document.getElementById("main"), {childList: true, subtree: true});
    """)
    page.go(explain_address(*pair))
    page.wait(DONE)
    answer = explanation_of(page, *pair)
    counts = page.js("return [...counts]")
    assert len(counts) > 3, "the words came all at once"
    assert plain(page.texts(".words")[0]) == plain(answer["text"])
    spoken = page.js("return document.querySelector('[role=log]').textContent")
    assert spoken.strip()
    assert page.js("return document.querySelector('[role=log]').ariaLive") == "polite"
    keep_screenshot(page, "explain-laptop-light")


def test_the_rating_clusters_map_experts_and_evidence_are_those_of_the_answer(page, pair):
    answer = explanation_of(page, *pair)
    page.open(explain_address(*pair))
    page.wait(".pin")
    page.wait(DONE)
    assert float(page.texts(".rating-value strong")[0]) == pytest.approx(answer["rating"], abs=0.051)
    assert len(page.all(".column")) == len(answer["rating_distribution"])
    shares = page.js("return [...document.querySelectorAll('.mixture .segment')].map((e) => +e.style.flexGrow)")
    drawn = [share for share in answer["responsibilities"] if share >= 0.002]
    assert shares[: len(drawn)] == pytest.approx(drawn, abs=1e-4)
    assert len(page.all("path.dots")) == len({point["cluster"] for point in ask(page.url, "/v1/map")["points"]})
    cells = page.js("return [...document.querySelectorAll('.experts tbody td')].map((e) => +e.textContent)")
    assert cells == pytest.approx([100 * share for row in answer["experts"] for share in row], abs=0.51)
    quotes = page.texts(".evidence blockquote")
    assert [plain(text) for text in quotes] == [plain(row["text"]) for row in answer["evidence"]]


def test_a_word_shows_its_experts_when_pointed_at(page, pair):
    page.open(explain_address(*pair))
    page.wait(DONE)
    answer = explanation_of(page, *pair)
    tokens = ask(page.url, "/v1/experts", {"user": pair[0], "item": pair[1], "text": answer["text"]})["tokens"]
    first = page.all(".word")[0]
    assert tokens[0]["text"].strip().startswith(first.text) or first.text.startswith(tokens[0]["text"].strip())
    page.hover(first)
    page.wait(".experts.focusing .chosen")
    chosen = page.js("""
        return [...document.querySelectorAll(".experts tbody tr")].map((row) =>
            [...row.querySelectorAll("td")].flatMap((cell, n) => cell.classList.contains("chosen") ? [n] : []))
    """)
    own = [token for token in tokens if first.text.startswith(token["text"].strip())][:1] or tokens[:1]
    for layer, experts in enumerate(chosen):
        assert set(own[0]["layers"][layer]) <= set(experts)
    assert first.text in page.texts(".readout")[0]
    keep_screenshot(page, "word-laptop-light", whole=False)
    page.hover(page.all("h1")[0])
    assert not page.all(".experts.focusing")


def test_evidence_leads_to_the_view_of_who_wrote_it(page):
    for item in (row["item"] for row in ask(page.url, "/v1/items?prefix=&limit=10")["items"]):
        answer = explanation_of(page, users(page.url, 1)[0], item)
        if answer["evidence"]:
            break
    else:
        pytest.fail("no item of this run has evidence")
    page.open(explain_address(answer["user"], item))
    source = page.wait(".evidence a")
    author = source.text
    page.wait(DONE)
    source.click()
    page.wait("h1", author)
    page.wait("h2", "What they rated")
    assert page.js("return document.activeElement.tagName") == "H1"
    assert len(page.wait(".rows").find_elements("css selector", "li")) > 0
    keep_screenshot(page, "user-laptop-light")


def test_feedback_is_sent_and_marked(page, pair):
    page.open(explain_address(*pair))
    button = page.wait(".feedback button", "Not useful")
    button.click()
    page.wait(".feedback-reply", "kept")
    assert button.get_attribute("aria-pressed") == "true"
    page.wait(".comment input").send_keys("too vague")
    page.wait(".comment button").click()
    page.wait(".feedback-reply", "comment is kept")


def test_a_user_alone_gets_recommendations_that_lead_to_explanations(page, pair):
    best = ask(page.url, "/v1/recommend", {"user": pair[0], "top": 8, "explain": False})["items"]
    page.open()
    page.wait(".picker input").send_keys(pair[0], Keys.TAB)
    page.wait("button", "Recommend").click()
    page.wait(".ranking li")
    assert page.texts(".ranking-name a") == [row["title"] or row["item"] for row in best]
    ratings = [text.split()[-1] for text in page.texts(".ranking-rating")]
    assert [float(text) for text in ratings] == pytest.approx([row["rating"] for row in best], abs=0.051)
    keep_screenshot(page, "recommend-laptop-light")
    page.wait(".ranking .button").click()
    page.wait(DONE)
    assert quoted(best[0]["item"]) in page.driver.current_url.replace("+", "%20")


def test_a_rating_and_a_feature_set_by_the_person_reach_the_model(page, pair):
    feature = ask(page.url, "/v1/run")["features"][0]
    page.open(f"{explain_address(*pair)}&rating=1&feature={quoted(feature)}")
    page.wait(DONE)
    page.wait(".chips", "as you set it")
    assert page.wait("#what-rating").get_property("value") == "1"
    assert page.wait("#what-feature").get_property("value") == feature
    chips = page.texts(".chips li")
    assert any(feature in chip and "as you set it" in chip for chip in chips)


def test_two_users_are_compared_side_by_side(page):
    first, second = users(page.url, 2)
    page.open(f"#/compare?item={quoted(an_item(page.url))}&a={first}&b={second}")
    page.wait(".verdict", "The model expects")
    page.wait(".pin")
    assert all(user in page.texts(".verdict")[0] for user in (first, second))
    assert len(page.all(".pin")) == 2
    assert len(page.all(".side .word")) > 2
    tops = page.js(
        "return [...document.querySelectorAll('.side .card-text')].map((e) => e.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1]
    assert page.all(".card-difference td")
    keep_screenshot(page, "compare-laptop-light")


def test_the_clusters_tab_tells_who_they_are(page):
    clusters = ask(page.url, "/v1/clusters")["clusters"]
    page.open("#/clusters")
    page.wait(".card-cluster")
    assert len(page.all(".card-cluster")) == len(clusters)
    shown = page.texts(".card-cluster")
    for cluster, text in zip(clusters, shown, strict=True):
        assert f"{round(100 * cluster['share'])} %" in text
        assert all(str(user) in text for user in cluster["typical_users"])
    assert page.texts(".card-cluster h3 .note") == ["z-scores"] * sum(bool(each["words"]) for each in clusters)
    keep_screenshot(page, "clusters-laptop-light")
    page.wait(".card-cluster h2 a").click()
    page.wait("h1", f"Cluster {clusters[0]['cluster']}")
    page.wait(".people a").click()
    page.wait("h2", "What they rated")
    page.driver.back()
    page.wait("h1", f"Cluster {clusters[0]['cluster']}")
    page.driver.back()
    page.wait("h1", "Clusters of taste")


def test_the_items_tab_searches_and_shows_a_profile(page):
    item = an_item(page.url)
    profile = ask(page.url, f"/v1/items/{quoted(item)}")
    page.open("#/items")
    page.wait(".rows a")
    page.wait("#item-search").send_keys(item)
    page.js("window.before = document.querySelectorAll('.rows a').length")
    page.wait(".results .note", "1 item")
    assert f"q={item}" in page.driver.current_url
    page.wait(".rows a").click()
    page.wait(".card-profile", f"{profile['reviews']} review")
    shown = page.texts(".card-profile")[0]
    assert all(row["feature"] in shown for row in profile["features"][:5])
    keep_screenshot(page, "item-laptop-light")
    page.driver.back()
    page.wait(".profile .empty")
    page.wait("#item-search").send_keys(Keys.CONTROL, "a")
    page.wait("#item-search").send_keys("no such item at all")
    page.wait(".results .empty", "begins with")


def test_everything_can_be_done_with_the_keyboard(page, pair):
    user, item = pair
    page.open()
    page.wait(".examples a")
    page.press(Keys.TAB)
    assert page.js("return document.activeElement.className") == "skip"
    page.press(Keys.ENTER)
    assert page.js("return document.activeElement.id") == "main"
    page.press(Keys.TAB)
    active = "return document.activeElement.getAttribute('role')"
    assert page.js(active) == "combobox"
    page.press(user[:2])
    page.wait("[role=option]", user)
    while user != page.js(
        "const e = document.activeElement; const o = document.getElementById(e.getAttribute('aria-activedescendant'));"
        "return o && o.querySelector('.option-text').textContent"
    ):
        page.press(Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.ariaExpanded") == "true"
    page.press(Keys.ENTER)
    assert page.js("return document.activeElement.value") == user
    assert page.js("return document.activeElement.ariaExpanded") == "false"
    page.press(Keys.TAB, item)
    page.wait("[role=option]", item)
    page.press(Keys.ESCAPE)
    assert page.js("return document.activeElement.value") == item, "Escape closes the list and keeps the text"
    page.press(Keys.ENTER)
    page.wait(DONE)
    while page.js(active) != "option":
        page.press(Keys.TAB)
    first = page.js("return document.activeElement.textContent")
    page.press(Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement.previousElementSibling.textContent") == first
    page.wait(".experts.focusing .chosen")
    page.press(Keys.END, Keys.HOME)
    assert page.js("return document.activeElement.textContent") == first
    page.press(Keys.TAB)
    assert not page.all(".experts.focusing")
    outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus can be seen"


def luminance(page: Page, css: str, style: str) -> float:
    colour = page.js("return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]", css, style)
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(page: Page, ink: str, ground: str) -> float:
    a, b = luminance(page, ink, "color"), luminance(page, ground, "backgroundColor")
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_theme_follows_the_system_and_the_button_changes_it(page, pair, dark):
    page.emulate(LAPTOP, dark=dark)
    page.open(explain_address(*pair))
    page.wait(DONE)
    assert (luminance(page, "body", "backgroundColor") < 0.2) is dark
    for ink in (".words", ".note", ".readout", ".chips span", ".source", ".experts th", "footer"):
        assert contrast(page, ink, ".card") >= 4.5, ink
    keep_screenshot(page, f"explain-laptop-{'dark' if dark else 'light'}")
    page.wait("#theme").click()
    assert (luminance(page, "body", "backgroundColor") < 0.2) is not dark
    page.open("#/clusters")
    page.wait(".card-cluster")
    assert (luminance(page, "body", "backgroundColor") < 0.2) is not dark, "the choice outlives a reload"


VIEWS = ["explain", "pair", "recommend", "compare", "clusters", "cluster", "items", "item", "user", "markup"]


def address(page: Page, view: str) -> tuple[str, str]:
    """The address of a view and what it shows when it is complete."""
    (first, second), item = users(page.url, 2), an_item(page.url)
    return {
        "explain": ("#/explain", ".examples a"),
        "pair": (explain_address(first, item), DONE),
        "recommend": (f"#/explain?user={first}", ".ranking li"),
        "compare": (f"#/compare?item={quoted(item)}&a={first}&b={second}", ".pin"),
        "clusters": ("#/clusters", ".map"),
        "cluster": ("#/clusters/0", ".map"),
        "items": ("#/items", ".rows a"),
        "item": (f"#/items/{quoted(item)}", ".card-profile .bars, .card-profile .empty"),
        "user": (f"#/users/{first}", ".ranking li"),
        "markup": (f"#/users/{quoted(SCRIPT_USER)}", ".ranking li"),
    }[view]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_fits_a_phone_and_names_all_its_controls(page, view):
    where, complete = address(page, view)
    page.emulate(PHONE)
    page.open(where)
    page.wait(complete)
    keep_screenshot(page, f"{view}-phone-light")
    for size in (NARROW, PHONE):
        page.emulate(size)
        assert page.width() <= size[0], "no horizontal scroll bar"
    heights = page.js(
        "return [...document.querySelectorAll('button, .button, input, nav a')].map((e) => e.getBoundingClientRect())"
        ".filter((box) => box.width).map((box) => box.height)"
    )
    assert min(heights) >= 24, "large enough to tap"
    _check_names(page)
    levels = page.js("return [...document.querySelectorAll('h1, h2, h3, h4')].map((e) => +e.tagName[1])")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    ids = page.js("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def _check_names(page: Page) -> None:
    """Every part that takes the focus has a name for screen readers, and the landmarks are there."""
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    nodes = [node for node in nodes if not node.get("ignored")]
    roles = {node["role"]["value"] for node in nodes}
    assert {"banner", "navigation", "main", "contentinfo"} <= roles
    focusable = [
        node
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] not in ("RootWebArea", "main", "heading")
    ]
    assert focusable
    assert not [node["role"]["value"] for node in focusable if not node.get("name", {}).get("value")]


def test_ids_with_markup_stay_text(page):
    page.open(explain_address(SCRIPT_USER, IMAGE_ITEM))
    page.wait(DONE)
    assert page.wait(".card-text h2", SCRIPT_USER)
    for view in (f"#/users/{quoted(SCRIPT_USER)}", f"#/items/{quoted(IMAGE_ITEM)}", f"#/items?q={quoted('<')}"):
        page.go(view)
        page.wait("#main", "<")
    page.go(f"#/compare?item={quoted(IMAGE_ITEM)}&a={quoted(SCRIPT_USER)}&b={quoted('<b>x</b>')}")
    page.wait(".pin text", "<script>")
    page.wait(".verdict", "<b>x</b>")
    assert "hacked" not in page.driver.title.replace(SCRIPT_USER, "")
    assert not page.all("#main script, #main img, #main b, #main i")
    keep_screenshot(page, "markup-laptop-light")


def test_reduced_motion_stops_every_animation(page, pair):
    page.emulate(LAPTOP, reduced_motion=True)
    page.open(explain_address(*pair))
    page.wait(".words")
    assert page.js("return document.getAnimations().length") == 0


def test_the_first_paint_takes_less_than_a_second(page):
    page.open()
    page.wait(".examples a")
    # The browser records the paint a moment after the examples may be there.
    until(lambda: page.js("return performance.getEntriesByName('first-contentful-paint').length") == 1)
    painted = page.js("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert painted < 1000
    loaded = page.js("return performance.getEntriesByType('resource').reduce((sum, e) => sum + e.encodedBodySize, 0)")
    assert loaded < 400_000


IDS = ["u1", "a b", "50%", "%zz", "a/b", "a?b&c=d#e", "ünïcödé", "שלום", "'\"<>", "+", " ", "😀", SCRIPT_USER]


def test_an_address_keeps_any_id(page):
    page.open()
    for name in IDS:
        for params in ({"user": name, "item": name}, {}):
            link = page.module("route.js", "m.link('explain', args[0], args[1])", params, name)
            assert page.module("route.js", "m.parse(args[0])", link) == {
                "view": "explain",
                "id": name,
                "params": params,
            }


def test_an_address_with_a_stray_sign_or_an_unknown_view_is_read(page):
    page.open()
    assert page.module("route.js", "m.parse('#/users/100%')")["id"] == "100%"
    for address in ("", "#", "#/", "#/nowhere/1?x=2", "#explain/../..", "#//"):
        assert page.module("route.js", "m.parse(args[0])", address)["view"] == "explain"


TOKENS = [
    ("the music", ["the", " music"], ["the", "music"]),
    ("the music", ["the", "Ġmu", "sic"], ["the", "music"]),
    ("▁odd", ["▁", "▁odd"], ["▁odd"]),
    ("fine , and", ["fine", " ,", " and"], ["fine", ",", "and"]),
    ("a  b", ["a", " ", " b"], ["a", "b"]),
    ("über 😀", ["ü", "ber", " 😀"], ["über", "😀"]),
    ("the end", ["the"], None),
    ("the end", ["an", " end"], None),
    ("", [], None),
]


def test_tokens_are_joined_to_the_words_of_the_text(page):
    page.open()
    for text, tokens, words in TOKENS:
        sent = [{"text": token, "layers": [[n]]} for n, token in enumerate(tokens)]
        found = page.module("experts.js", "m.wordsOf(args[0], args[1])", text, sent)
        assert (found and [word["text"] for word in found]) == words, text


def test_a_word_of_two_tokens_has_the_experts_of_both(page):
    page.open()
    sent = [{"text": "mu", "layers": [[1, 2], [0, 3]]}, {"text": "sic", "layers": [[2, 5], [0, 3]]}]
    found = page.module("experts.js", "m.wordsOf('music', args[0])", sent)
    assert [sorted(layer) for layer in found[0]["layers"]] == [[1, 2, 5], [0, 3]]
