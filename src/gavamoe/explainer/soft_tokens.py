"""The vectors that the soft tokens start from: stage 1's, then, of an item, what its training texts speak of.

Latent semantic analysis: an item's training texts as one document, TF-IDF, truncated SVD. Left to gradients alone, an
item with a dozen reviews stays a stranger to the language model for as long as training lasts. Users get no such start:
half of them have so few texts that the vector would be the very text it is to help predict, and the model would learn
to trust it (docs/lab-log.md).
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor, nn

# A vector of n texts is scaled by n / (n + STRENGTH): with few texts it would be the text it is to help predict.
STRENGTH = 20.0
START_STD = 0.02  # so that even strangers differ a little


def soft_token_init(stage1_NV: Tensor, content_NW: Tensor) -> Tensor:
    """[N, V + W]: stage 1's vectors at unit variance, then the dimensions that the texts go on to teach."""
    taste = stage1_NV - stage1_NV.mean(0)
    if stage1_NV.shape[1]:
        taste = taste / stage1_NV.std(0).clamp_min(1e-6)
    return torch.cat([taste, content_NW + START_STD * torch.randn_like(content_NW)], dim=1)


def item_lsa_vectors(train: pl.DataFrame, rows: int, width: int) -> Tensor:
    """[rows, width] for item ids 0..rows-1; 0 for the unknown and where there are too few texts to tell words apart.

    train: training reviews with item_id, text. Dimensions have unit variance before they are scaled.
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
    found = TruncatedSVD(dimensions, random_state=0).fit_transform(weights)
    found = (found - found.mean(0)) / np.maximum(found.std(0), 1e-6)
    count = documents["n"].to_numpy()[:, None]
    ids = torch.from_numpy(documents["item_id"].to_numpy().astype(np.int64))
    vectors[ids, :dimensions] = torch.from_numpy(found * count / (count + STRENGTH)).float()
    return vectors


def _tf_idf(documents: list[str]):  # type: ignore[no-untyped-def] # a scipy matrix, which carries no types
    try:
        return TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(documents)
    except ValueError:  # no word is in two documents
        return None


class SoftToken(nn.Module):
    """A user's or item's vector as one soft token.

    Row 0 is the unknown. The vectors are an ordinary parameter of the model: trained, saved and loaded with it.
    """

    def __init__(self, rows: int, width: int, hidden: int, dropout: float):
        super().__init__()
        self.vectors = nn.Embedding(rows, width)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(width, hidden)

    def forward(self, id_B: Tensor) -> Tensor:
        """[B] -> [B, H]."""
        return self.projection(self.dropout(self.vectors(id_B)))

    @torch.no_grad()
    def start_from(self, vectors_NV: Tensor) -> None:
        """Take over vectors [rows, width]."""
        self.vectors.weight.copy_(vectors_NV)
