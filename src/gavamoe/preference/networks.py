"""The networks of stage 1: a pair's ids to a Gaussian over the latent, and a latent to a distribution of ratings.

Shape suffixes: B batch, N users or items, F features, E embedding, H hidden, D latent, R rating levels.
Each pair is encoded on its own: nothing here mixes rows of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

UNKNOWN = 0  # the id of a user or item without a training review
# Bounds on log sigma^2: outside them exp() carries no information and its gradient blows up.
LOG_VAR_RANGE = (-8.0, 4.0)
LOG_VAR_START = -2.0  # narrower than the prior, wide enough to be felt
HEAD_STD = 0.02  # of what the trunk adds to the heads at first
OFFSET_STD = 0.03  # of an id's own vector: one seen once or twice should still be near the typical


class SideEncoder(nn.Module):
    """One side of the trunk: an id to that side's share of the latent Gaussian.

    An id's vector is what all ids share, what its description says where there is one, and its own offset. The unknown
    has neither: it is the typical user or item.

    features: F, the width of descriptions; 0 without.
    """

    description_NF: Tensor

    def __init__(self, rows: int, embedding: int, hidden: int, latent: int, dropout: float, features: int = 0):
        super().__init__()
        self.typical_E = nn.Parameter(torch.zeros(embedding))
        # Sparse gradients: a step costs what its batch touches, not the size of the table.
        self.offset = nn.Embedding(rows, embedding, padding_idx=UNKNOWN, sparse=True)
        nn.init.normal_(self.offset.weight, std=OFFSET_STD)
        with torch.no_grad():
            self.offset.weight[UNKNOWN] = 0.0
        self.features = features
        if features:
            self.register_buffer("description_NF", torch.zeros(rows, features))
            self.read = nn.Linear(features, embedding, bias=False)
            nn.init.zeros_(self.read.weight)
        self.trunk = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding, hidden), nn.GELU(), nn.Dropout(dropout))
        self.mu = nn.Linear(embedding + hidden, latent)
        self.log_var = nn.Linear(embedding + hidden, latent)
        nn.init.normal_(self.mu.weight, std=HEAD_STD)
        nn.init.normal_(self.log_var.weight, std=HEAD_STD)
        nn.init.constant_(self.log_var.bias, LOG_VAR_START)
        with torch.no_grad():  # mu starts as the id's own vector, so what that starts from reaches the latent
            self.mu.weight[:, :embedding] += torch.eye(latent, embedding)

    def vectors(self, id_B: Tensor) -> Tensor:
        """The ids' vectors, [B, E]."""
        vector_BE = self.typical_E + self.offset(id_B)
        return vector_BE + self.read(self.description_NF[id_B]) if self.features else vector_BE

    def forward(self, id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 of this side's dimensions, [B, D/2]."""
        vector_BE = self.vectors(id_B)
        hidden_BH = torch.cat([vector_BE, self.trunk(vector_BE)], dim=-1)
        return self.mu(hidden_BH), self.log_var(hidden_BH).clamp(*LOG_VAR_RANGE)


class PairEncoder(nn.Module):
    """(user, item) -> mu, log sigma^2.

    Trunk and heads over [E_U[u]; E_I[i]] are block-diagonal: half of the latent's dimensions belong to a side. What
    user and item do to each other is left to the decoder, so the latent has to carry the taste and not just the rating
    it leads to. A trunk that mixes the sides finds the rating itself, and the clusters become rating levels.
    """

    def __init__(
        self,
        users: int,
        items: int,
        embedding: int,
        hidden: int,
        latent: int,
        dropout: float,
        item_features: int = 0,
    ):
        super().__init__()
        self.user_latent = latent // 2
        self.user = SideEncoder(users + 1, embedding, hidden, self.user_latent, dropout)
        self.item = SideEncoder(items + 1, embedding, hidden, latent - self.user_latent, dropout, item_features)

    def forward(self, user_B: Tensor, item_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2, [B, D]: the user's dimensions, then the item's."""
        sides = self.user(user_B), self.item(item_B)
        mu_BD, log_var_BD = (torch.cat(halves, dim=-1) for halves in zip(*sides, strict=True))
        return mu_BD, log_var_BD


class RatingDecoder(nn.Module):
    """Latent z -> logits over the R rating levels: a linear part for biases, and products for what taste meets."""

    def __init__(self, user_latent: int, item_latent: int, hidden: int, levels: int, dropout: float):
        super().__init__()
        self.user_latent = user_latent
        self.left = nn.Linear(user_latent, hidden)
        self.right = nn.Linear(item_latent, hidden)
        self.dropout = nn.Dropout(dropout)
        self.product = nn.Linear(hidden, levels, bias=False)
        self.linear = nn.Linear(user_latent + item_latent, levels)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Logits [B, R]."""
        product_BH = self.left(z_BD[:, : self.user_latent]) * self.right(z_BD[:, self.user_latent :])
        return self.linear(z_BD) + self.product(self.dropout(product_BH))
