"""Items as vectors of what is said of them: title, categories, description.

Latent semantic analysis (TF-IDF, truncated SVD) of one document an item, in which a category is one word. An item that
nobody has reviewed gets a vector too, and with it lands near its like (`PreferenceModel.with_new_items`).
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
    """A fitted embedding of item descriptions; frames have title, categories (list) and description, nulls allowed."""

    def __init__(self, items: pl.DataFrame, width: int, seed: int = 0):
        """Fit on the known items; `ConfigError` where they are described by too little."""
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
        """A row an item, [n, width]; dimensions have unit variance over the known items; 0 where nothing is said."""
        documents = _documents(items)
        vectors = self.pipeline.transform(documents).astype(np.float32)
        vectors[[not document.strip() for document in documents]] = 0.0
        return torch.from_numpy(vectors)


def _documents(items: pl.DataFrame) -> list[str]:
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
