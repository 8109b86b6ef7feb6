"""Item features: vectors of an item's title, categories and description, by latent semantic analysis (LSA).

LSA is TF-IDF followed by a truncated SVD; each item is one document, and a category counts as one word. An item
without reviews gets a vector too, so it is placed near similar items (`PreferenceModel.with_new_items`).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from gavamoe.errors import ConfigError
from gavamoe.words import separate


class ItemText:
    """LSA of item descriptions, fitted on the known items.

    Args:
        items: the known items with title, categories (a list) and description; nulls are allowed.
        width: dimensions of a vector.
        seed: of the truncated SVD.

    Raises:
        ConfigError: the items share too few words for so many dimensions.
    """

    def __init__(self, items: pl.DataFrame, width: int, seed: int = 0):
        documents = _documents(items)
        try:
            weights = TfidfVectorizer(min_df=2, sublinear_tf=True, token_pattern=r"\S+").fit(documents)
        except ValueError:
            raise ConfigError(
                "no two items share a word of title, category or description; leave item_features at 0"
            ) from None
        if width >= min(len(weights.vocabulary_), len(documents)):
            raise ConfigError(
                f"{width} item features need more than {width} items and words that two of them share; "
                "set preference.item_features lower"
            )
        self.pipeline = make_pipeline(weights, TruncatedSVD(width, random_state=seed), StandardScaler())
        self.pipeline.fit(documents)

    def vectors(self, items: pl.DataFrame) -> Tensor:
        """Return one row per item, [len(items), width].

        Dimensions have unit variance over the known items. The row of an item without any text is 0.
        """
        documents = _documents(items)
        vectors = self.pipeline.transform(documents).astype(np.float32)
        vectors[[not document.strip() for document in documents]] = 0.0
        return torch.from_numpy(vectors)


def _documents(items: pl.DataFrame) -> list[str]:
    """Return one document per item: words of title and description, then one word `category:NAME` per category."""
    category = (
        pl.col("categories")
        .cast(pl.List(pl.String))
        .list.eval(pl.element().str.replace_all(r"\s+", "_"))
        .list.join(" ")
    )
    words = pl.concat_str(
        pl.col("title", "description")
        .cast(pl.String)
        .fill_null("")
        .str.to_lowercase()
        .str.replace_all(r"[^\w\s]", " "),
        category.fill_null("").str.replace_all(r"(\S+)", "category:$1"),
        separator=" ",
    )
    return separate(items.select(document=words)["document"]).to_list()
