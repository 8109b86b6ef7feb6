"""Reviews in Chinese, German and Arabic, from a file to the report, by the commands."""

from __future__ import annotations

import json

import polars as pl
import pytest
from helpers.browser import Page, chromium, find_chromium
from helpers.serving import quoted, served_mock
from helpers.worlds import TINY

from gavamoe.config import parse_config
from gavamoe.data.prepare import prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.pipeline.train import train_run


def trained(directory, language, columns=("feature",)):
    frame = simulate(World(users=30, items=12, reviews=300, clusters=3, language=language))
    write_table(frame.drop(*columns, "cluster"), directory / "r.jsonl")
    prepare([directory / "r.jsonl"], directory / "data")
    train_run(directory / "data", directory / "run", parse_config(TINY), preset="tiny")
    return directory / "run"


@pytest.mark.slow
@pytest.mark.parametrize("language", ["zh", "de", "ar"])
def test_a_language_goes_from_reviews_to_a_report(tmp_path, language, capsys):
    from typer.testing import CliRunner

    from gavamoe.cli.main import app
    from gavamoe.explainer.explainer import Explainer

    run = trained(tmp_path, language)
    result = CliRunner().invoke(app, ["evaluate", str(run), "--json"])
    assert result.exit_code == 0, result.output
    evaluated = json.loads(result.stdout)
    assert evaluated["metrics"]["BLEU-1"] > 5
    assert evaluated["further"]["rouge-score/rouge1"] > 5
    assert ("each character is a word" in evaluated["conditions"]["normalization"]) == (language == "zh")
    predictions = pl.read_ndjson(run / "predictions.jsonl")["prediction"]
    assert not predictions.str.contains("\ufffd").any()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f'<blockquote dir="auto" lang="{language}">' in page

    explainer = Explainer.from_pretrained(run)
    sentences = pl.read_parquet(run / "explainer" / "evidence.parquet")
    assert len(sentences) > 200  # every review has one
    user, item = explainer.catalog.user_names[1], explainer.catalog.item_names[1]
    pieces = list(explainer.stream(user, item))
    assert len(pieces) > 2  # words come before the end, with and without blanks
    text = explainer.explain(user, item, candidates=1).text
    assert "".join(pieces) == text
    if find_chromium() is not None:
        check_page(run, user, item, text, right_to_left=language == "ar", profile=tmp_path / "browser")


def check_page(run, user, item, text, right_to_left, profile):
    """Check that the page shows the text of a pair, in the direction of its language."""
    from helpers.service import open_service

    from gavamoe.service.app import create_app
    from gavamoe.service.served_run import ServedRun

    service = open_service(ServedRun.load(run), store=None)
    with served_mock(create_app(service)) as url, chromium(profile) as driver:
        page = Page(driver, url)
        page.open(f"#/explain?user={quoted(user)}&item={quoted(item)}")
        page.wait(".word")
        assert "".join(page.texts(".words")[0].split()) == "".join(text.split())
        places = page.js("""
            const boxes = [...document.querySelectorAll(".word")].map((word) => word.getBoundingClientRect());
            return boxes.filter((box) => box.top === boxes[0].top).slice(0, 2).map((box) => box.left);
        """)
        # A Chinese text has no blanks, so the page may show it as one word.
        assert (places != sorted(places)) == right_to_left


@pytest.mark.slow
def test_texts_of_rare_characters_have_no_broken_ones(tmp_path):
    """Characters that training saw once or twice are three tokens each, which an untrained model mixes up."""
    rng, letters = __import__("random").Random(0), [chr(code) for code in range(0x4E00, 0x4E00 + 900)]
    rows = [
        {"user": f"u{n % 20}", "item": f"i{n // 20}", "rating": 1 + n % 5, "text": "".join(rng.choices(letters, k=14))}
        for n in range(200)
    ]
    write_table(pl.DataFrame(rows), tmp_path / "r.jsonl")
    prepare([tmp_path / "r.jsonl"], tmp_path / "data")
    train_run(tmp_path / "data", tmp_path / "run", parse_config(TINY), preset="tiny")
    from gavamoe.explainer.explainer import Explainer

    explainer = Explainer.from_pretrained(tmp_path / "run")
    pairs = [(f"u{n % 20}", f"i{n % 10}") for n in range(60)]
    for options in ({}, {"do_sample": False}, {"do_sample": False, "num_beams": 3}, {"max_new_tokens": 5}):
        texts = [explanation.text for explanation in explainer.explain_batch(pairs, **options)]
        assert any(texts)
        assert not any("\ufffd" in text for text in texts)
