"""How texts and ratings are made comparable, whoever wrote them: the same rows, words, length and features for all."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.evaluation.normalize import normalize, truncate
from gavamoe.evaluation.outputs import Outputs

TRUNCATE_WORDS = 20  # as the reference figures of the field's short-text sets
NORMALIZATION = "lowercase, punctuation split from words"
TEXTS_AT_ONCE = 50_000


def comparable(text: str) -> str:
    """A text as it is scored: normalized, then cut."""
    return truncate(normalize(text), TRUNCATE_WORDS)


def comparable_outputs(
    texts: list[str] | None,
    ratings: np.ndarray | None,
    reviews: pl.DataFrame,
    catalog: Catalog,
    item_features: list[Collection[str]] | None = None,
) -> Outputs:
    """What is scored of a system that said `texts` (None: it writes none) and `ratings` of the rows of `reviews`.

    A row without a reference text counts for ratings only. `item_features`: see `features_of_items`.
    """
    features = reviews["feature"].to_list() if "feature" in reviews.columns else None
    return Outputs(
        [comparable(text).split() for text in texts] if texts is not None else [[]] * len(reviews),
        [comparable(text).split() for text in reviews["text"].fill_null("").to_list()],
        features and [None if feature is None else normalize(feature) for feature in features],
        {normalize(feature) for feature in catalog.features},
        predicted=ratings,
        true=reviews["rating"].to_numpy(),
        scale=catalog.scale.bounds,
        described=has_text(reviews).to_numpy(),
        item_features=item_features,
    )


def has_text(reviews: pl.DataFrame) -> pl.Series:
    """Which rows have a reference text."""
    return reviews["text"].fill_null("").str.strip_chars() != ""


def features_of_items(
    train: pl.DataFrame, reviews: pl.DataFrame, features: Collection[str]
) -> list[Collection[str]] | None:
    """For each row of `reviews`, the features that any training text of its item names; None without features.

    Features are normalized, as texts are when they are scored.
    Both frames have item_id of one catalog; an unknown item (id 0) has no training text.
    """
    if not features:
        return None
    known_features = {normalize(feature) for feature in features}
    asked = set(reviews["item_id"].unique().to_list()) - {0}
    known = train.filter(pl.col("item_id").is_in(list(asked)) & has_text(train)).select("item_id", "text")
    found: dict[int, set[str]] = {item: set() for item in asked}
    for rows in known.iter_slices(TEXTS_AT_ONCE):
        texts = [normalize(text) for text in rows["text"].to_list()]
        named = Outputs.of_texts(texts, texts, feature_set=known_features).named_features
        for item, of_text in zip(rows["item_id"].to_list(), named, strict=True):
            found[item] |= of_text
    return [found.get(item, frozenset()) for item in reviews["item_id"].to_list()]
