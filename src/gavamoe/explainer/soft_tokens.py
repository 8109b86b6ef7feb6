"""Soft tokens: a user's or item's vector, projected to the width of the language model's input embeddings.

    vector [V + W] = [stage 1's embedding, V dimensions | dimensions that stage 2 learns from texts, W]

An item's W dimensions start from latent semantic analysis of its training texts (TF-IDF, truncated SVD). From a random
start, the language model does not learn to tell apart items with a dozen reviews within a training. Users get no such
start: half of them have so few texts that the vector would encode the very text it is to help predict, and the model
would learn to rely on it (docs/lab-log.md).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

from gavamoe.preference.id_table import IdTable

# An LSA vector of n texts is scaled by n / (n + SHRINKAGE): with few texts it would encode the text to be predicted.
SHRINKAGE = 20.0
INIT_STD = 0.02  # noise in the text dimensions, so that users and items without a start differ a little


class SoftToken(nn.Module):
    """The vectors of users or of items, each projected to one input embedding.

    Id 0 is the unknown. The vectors are an ordinary parameter: trained, saved and loaded with the model.

    Args:
        ids: number of users or items, the unknown included.
        width: dimensions of a vector.
        hidden: width of the language model's embeddings, H.
        dropout: dropout probability of a vector's dimensions.
        rows: number of different vectors, without the unknown's; None gives each id its own.
    """

    def __init__(self, ids: int, width: int, hidden: int, dropout: float, rows: int | None = None):
        super().__init__()
        self.vectors = IdTable(ids, width, rows)
        self.dropout = nn.Dropout(dropout)
        with warnings.catch_warnings():  # torch finds it odd that a width can be 0
            warnings.simplefilter("ignore", UserWarning)
            self.projection = nn.Linear(width, hidden)

    def forward(self, id_B: Tensor) -> Tensor:
        """Return the soft token of each id, [B, H]."""
        return self.projection(self.dropout(self.vectors(id_B)))

    @torch.no_grad()
    def copy_vectors(self, vectors_NV: Tensor, row_N: Tensor | None = None) -> None:
        """Set all vectors, [rows, width], and the row of each id where ids share rows."""
        self.vectors.weight.copy_(vectors_NV)
        if row_N is not None:
            self.vectors.set_rows(row_N)


class SoftTokenVectors(NamedTuple):
    """The vectors that the soft tokens of users and items start from.

    Attributes:
        users: [N, side_width]; row 0 is the unknown. Where users share rows, one for each row.
        items: [N, side_width]; row 0 is the unknown.
        user_row_N: the row of each user where users share rows; None if each has its own.
    """

    users: Tensor
    items: Tensor
    user_row_N: Tensor | None = None

    @classmethod
    def of_unknown(cls, width: int = 1) -> SoftTokenVectors:
        """Return the vectors of a model without users and items: those of the unknown ones alone, 0."""
        return cls(torch.zeros(1, width), torch.zeros(1, width))

    @property
    def n_users(self) -> int:
        """Number of users, without the unknown."""
        return len(self.users if self.user_row_N is None else self.user_row_N) - 1


def soft_token_init(stage1_NV: Tensor, text_NW: Tensor) -> Tensor:
    """Return initial vectors [N, V + W]: stage 1's at unit variance, then the text dimensions with a little noise."""
    scaled_NV = stage1_NV - stage1_NV.mean(0)
    if stage1_NV.shape[1]:
        scaled_NV = scaled_NV / stage1_NV.std(0).clamp_min(1e-6)
    return torch.cat([scaled_NV, text_NW + INIT_STD * torch.randn_like(text_NW)], dim=1)


def item_lsa_vectors(train: pl.DataFrame, rows: int, width: int) -> Tensor:
    """Return latent semantic vectors of items from their training texts, [rows, width].

    Each dimension has unit variance before vectors are shrunk. A row is 0 for the unknown item (id 0) and for items
    without texts; all are 0 if no word occurs in two items' texts.

    Args:
        train: training reviews with item_id and text.
        rows: number of items, the unknown included.
        width: dimensions of a vector; unused ones are 0.
    """
    vectors = torch.zeros(rows, width)
    documents = (
        train.filter(pl.col("item_id") > 0)
        .group_by("item_id")
        .agg(pl.col("text").str.join(" "), n=pl.len())
        .sort("item_id")
    )
    weights = _tf_idf(documents["text"].to_list()) if width and len(documents) > 1 else None
    if weights is None:
        return vectors
    dimensions = min(width, weights.shape[1] - 1, len(documents) - 1)
    if dimensions < 1:
        return vectors
    lsa = TruncatedSVD(dimensions, random_state=0).fit_transform(weights)
    lsa = (lsa - lsa.mean(0)) / np.maximum(lsa.std(0), 1e-6)
    count = documents["n"].to_numpy()[:, None]
    ids = torch.from_numpy(documents["item_id"].to_numpy().astype(np.int64))
    vectors[ids, :dimensions] = torch.from_numpy(lsa * count / (count + SHRINKAGE)).float()
    return vectors


def _tf_idf(documents: list[str]):  # type: ignore[no-untyped-def] # a scipy matrix, which has no types
    """Return TF-IDF weights [documents, words], or None if no word occurs in two documents."""
    try:
        return TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(documents)
    except ValueError:
        return None
