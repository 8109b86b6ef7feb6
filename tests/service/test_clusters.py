"""The descriptions of clusters that the service answers, from the training data that a run holds."""

import numpy as np
import polars as pl
import pytest

from gavamoe.data.catalog import Catalog
from gavamoe.data.scale import RatingScale
from gavamoe.service import clusters
from gavamoe.service.clusters import NO_SENTENCES, describe_clusters

USERS, ITEMS = 12, 10


@pytest.fixture
def world():
    """Two kinds of users, whose texts of two sentences have 6 and 10 words, without punctuation marks."""
    user, item = (column.ravel() for column in np.mgrid[1 : USERS + 1, 1 : ITEMS + 1])
    cluster = user % 2
    reviews = pl.DataFrame({"user_id": user, "item_id": item, "level": 3, "rating": 3.0, "feature": "plot"})
    users, items = range(1, USERS + 1), range(1, ITEMS + 1)
    catalog = Catalog(
        pl.DataFrame({"user_id": users, "user": [f"u{n}" for n in users], "n_train": ITEMS}),
        pl.DataFrame({"item_id": items, "item": [f"i{n}" for n in items]}).with_columns(
            mean_rating=pl.lit(3.0), categories=pl.lit(["drama"])
        ),
        reviews.select("user_id", "item_id", "level"),
        RatingScale.between(1, 5),
    )
    texts = np.array(["lol, so good!", "one may argue at length."])[cluster]
    each = reviews.select("user_id", "item_id", "feature").with_columns(
        cluster=pl.Series(cluster), text=pl.Series(texts)
    )
    sentences = pl.concat([each, each]).sample(fraction=1, shuffle=True, seed=0)
    profile_UK = np.eye(2)[np.arange(USERS + 1) % 2]
    return catalog, sentences, reviews, cluster, profile_UK


@pytest.mark.parametrize("texts", [50_000, 30])
def test_the_length_of_texts_does_not_depend_on_how_many_are_read(world, texts, monkeypatch):
    monkeypatch.setattr(clusters, "TEXTS", texts)
    first, second = describe_clusters(*world)
    assert (first["length"], second["length"]) == (6, 10)
    assert {each["word"] for each in first["words"]} == {"lol", "so", "good"}
    assert all(each["log_odds"] > 1.96 for each in second["words"])


def test_clusters_of_a_run_without_texts_have_no_words(world):
    catalog, _, *others = world
    for each in describe_clusters(catalog, NO_SENTENCES, *others):
        assert (each["words"], each["length"]) == ([], None)
        assert each["pairs"] == USERS * ITEMS // 2
