"""The demo around a base model, on simulated reviews with described items and on a file of the user's."""

import json

import polars as pl
import pytest
from helpers.checkpoints import save_base

from gavamoe.data.simulate import World, simulate, simulate_items
from gavamoe.errors import InputError
from gavamoe.pipeline import demo

WORLD = World(users=40, items=20, reviews=500, clusters=3)


def test_every_simulated_item_has_a_title_of_its_own_and_the_reviews_stay_the_same():
    world = World(items=300)
    items = simulate_items(world)
    assert items["title"].n_unique() == len(items) == 300
    assert set(simulate(world)["item"]) <= set(items["item"])
    assert items.select(pl.col("title", "categories", "description").is_not_null().all()).row(0) == (True,) * 3


@pytest.mark.slow
def test_the_demo_trains_around_a_base_on_a_file_and_quotes_titles(tmp_path, reviews_file, monkeypatch):
    small = ("explainer.max_reviews=20", "explainer.epochs=1", "explainer.candidates=1", "explainer.max_tokens=8")
    small += ("preference.pretrain_epochs=2", "preference.epochs=2", "preference.restarts=1")
    monkeypatch.setattr(demo, "BASE_SETTINGS", small)
    monkeypatch.setattr(demo, "BASE_EVALUATED", 6)
    monkeypatch.setattr(demo, "World", lambda seed: WORLD)
    base, notes = save_base(tmp_path / "base"), []
    result = demo.run_demo(tmp_path / "simulated", 0, notes.append, base)
    assert result.n == 6
    assert 1 <= len(result.examples) <= 5
    assert result.conditions["context"] == "history"
    assert set(result.agreement) == {"pairs", "users"}
    items = json.loads((tmp_path / "simulated" / "data" / "card.json").read_text())["items"]
    assert items["with"] == {"title": 20, "categories": 20, "description": 20}
    assert "evaluating on the test reviews" in notes

    result = demo.run_demo(tmp_path / "own", 0, notes.append, base, reviews_file)
    assert result.n == 6
    assert result.agreement == {}
    assert not (tmp_path / "own" / "reviews.jsonl.gz").exists()


def test_a_link_to_nothing_is_refused_in_one_line(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match="link exists and is no demo"):
        demo.run_demo(tmp_path / "link", 0, print)
