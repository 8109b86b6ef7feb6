"""Preparing reviews in other languages: nothing is lost for want of blanks, and the reason for no features is said."""

from __future__ import annotations

import polars as pl
import pytest

from gavamoe.cli.prepare import _show
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.data.tables import write_table
from gavamoe.errors import ConfigError


def simulated(directory, language):
    frame = simulate(World(users=20, items=10, reviews=120, clusters=2, language=language))
    write_table(frame.drop("feature", "cluster"), directory / f"{language}.jsonl")
    return directory / f"{language}.jsonl"


@pytest.mark.parametrize(("language", "name"), [("zh", "Chinese (zh)"), ("de", "German (de)"), ("ar", "Arabic (ar)")])
def test_no_review_is_too_short_and_the_reason_for_no_features_is_said(tmp_path, capsys, language, name):
    card = prepare([simulated(tmp_path, language)], tmp_path / "data", PrepareOptions(min_words=4))
    assert card["counts"]["reviews"] == 120
    assert card["features"]["count"] == 0
    _show(tmp_path / "data", card)
    printed = " ".join(capsys.readouterr().out.split())
    assert f"features 0: features are mined from English opinion words, and these texts are mostly {name};" in printed
    assert "--feature-col" in printed


def test_features_that_nobody_wants_need_no_reason(tmp_path, capsys):
    card = prepare([simulated(tmp_path, "zh")], tmp_path / "data", PrepareOptions(features="off"))
    _show(tmp_path / "data", card)
    assert "features  0 (off)" in capsys.readouterr().out


def test_long_reviews_without_features_become_a_sentence_in_training_and_in_evaluation(tmp_path):
    from gavamoe.data.dataset import ReviewDataset

    long = "剧情很好看，值得一看。" * 20
    rows = pl.DataFrame({"user": ["a", "b"] * 20, "item": [f"i{n // 2}" for n in range(40)], "rating": [1, 5] * 20})
    write_table(rows.with_columns(text=pl.lit(long)), tmp_path / "r.jsonl")
    prepare([tmp_path / "r.jsonl"], tmp_path / "data")
    dataset = ReviewDataset.load(tmp_path / "data")
    assert set(dataset.interactions("train")["text"]) == {"剧情很好看，值得一看。"}
    raw = rows.with_columns(text=pl.lit(long))
    assert set(dataset.catalog.encode(raw)["text"]) == {"剧情很好看，值得一看。"}


def test_every_language_simulates_the_same_world():
    worlds = {language: simulate(World(reviews=300, language=language)) for language in ("en", "de", "zh", "ar")}
    for frame in worlds.values():
        assert frame.drop("text", "feature").equals(worlds["en"].drop("text", "feature"))
        assert all(feature in text for feature, text in frame.select("feature", "text").iter_rows())
    with pytest.raises(ConfigError, match="en, de, zh, ar, not fr"):
        World(language="fr")
