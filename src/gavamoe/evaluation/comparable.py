"""Make the outputs of different systems comparable: the same rows, words, text length and features for all.

`normalize_text` lowercases a text and splits punctuation from words, `truncate` cuts it; both are applied to
predictions and references of every system before scoring. `gavamoe.words` says what a word is in each script.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import HAS_TEXT
from gavamoe.evaluation.outputs import Outputs
from gavamoe.evaluation.training_texts import TrainingTexts, name_of
from gavamoe.words import CHARACTERS_ARE_WORDS, normalize_text

TRUNCATE_WORDS = 20  # as in the published figures on the field's short-text datasets
NORMALIZATION = "lowercase, punctuation split from words"
CHUNK_ROWS = 50_000  # training texts that are searched for features at once


def describe_normalization(outputs: Outputs) -> str:
    """Return the condition that states how the texts were normalized, and whether characters are words in them."""
    return f"{NORMALIZATION}; {CHARACTERS_ARE_WORDS}" if outputs.has_unspaced else NORMALIZATION


def truncate(text: str, words: int) -> str:
    """Return the first `words` words of a text."""
    return " ".join(text.split()[:words])


def normalize_and_truncate(text: str) -> str:
    """Return a text as it is scored: normalized, then cut to `TRUNCATE_WORDS` words."""
    return truncate(normalize_text(text), TRUNCATE_WORDS)


def comparable_outputs(
    texts: list[str] | None,
    ratings: np.ndarray | None,
    reviews: pl.DataFrame,
    catalog: Catalog,
    item_features: list[Collection[str]] | None = None,
    training: TrainingTexts | None = None,
) -> Outputs:
    """Build the outputs of one system for the rows of `reviews`, normalized and truncated.

    Args:
        texts: the system's explanations, [n]; None if it only predicts ratings.
        ratings: its predicted ratings on the source's scale, [n]; None if it only writes texts.
        reviews: ground truth with text, rating and optionally feature, [n]. A row without text counts for ratings only.
        catalog: gives the feature set and the rating scale.
        item_features: see `features_of_items`.
        training: the training texts, for metrics that know the right user and item.
    """
    features = reviews["feature"].to_list() if "feature" in reviews.columns else None
    return Outputs(
        [normalize_and_truncate(text).split() for text in texts] if texts is not None else [[]] * len(reviews),
        [normalize_and_truncate(text).split() for text in reviews["text"].fill_null("").to_list()],
        features and [None if feature is None else normalize_text(feature) for feature in features],
        {normalize_text(feature) for feature in catalog.features},
        predicted=ratings,
        true=reviews["rating"].to_numpy(),
        scale=catalog.scale.bounds,
        has_reference=has_text(reviews).to_numpy(),
        item_features=item_features,
        users=[name_of(name) for name in reviews["user"].to_list()],
        items=[name_of(name) for name in reviews["item"].to_list()],
        training=training,
    )


def has_text(reviews: pl.DataFrame) -> pl.Series:
    """Return whether each row has a text that is not blank, [n] booleans."""
    return reviews.select(HAS_TEXT).to_series()


def features_of_items(
    train: pl.DataFrame, reviews: pl.DataFrame, features: Collection[str]
) -> list[Collection[str]] | None:
    """Return, for each row of `reviews`, the features that training texts of its item mention.

    Args:
        train: training reviews with item_id and text.
        reviews: rows with item_id of the same catalog; an unknown item (id 0) has no training text.
        features: all features.

    Returns:
        One collection of normalized features per row, or None if there are no features.
    """
    if not features:
        return None
    known_features = {normalize_text(feature) for feature in features}
    wanted = set(reviews["item_id"].unique().to_list()) - {0}
    known = train.filter(pl.col("item_id").is_in(list(wanted)) & has_text(train)).select("item_id", "text")
    by_item: dict[int, set[str]] = {item: set() for item in wanted}
    for rows in known.iter_slices(CHUNK_ROWS):
        texts = [normalize_text(text) for text in rows["text"].to_list()]
        named = Outputs.from_texts(texts, texts, feature_set=known_features).named_features
        for item, features_of_text in zip(rows["item_id"].to_list(), named, strict=True):
            by_item[item] |= features_of_text
    return [by_item.get(item, frozenset()) for item in reviews["item_id"].to_list()]
