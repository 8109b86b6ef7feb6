"""The networks of stage 1: a pair's ids to a Gaussian over the latent, and a latent to a distribution of ratings.

Shape suffixes: B batch, E embedding, H hidden, D latent, R rating levels.
Each pair is encoded on its own: nothing here mixes rows of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

UNKNOWN = 0  # the id of a user or item without a training review
# Bounds on log sigma^2: outside them exp() carries no information and its gradient blows up.
LOG_VAR_RANGE = (-8.0, 4.0)
LOG_VAR_START = -4.0  # near a deterministic autoencoder at first
EMBEDDING_STD = 0.3


class Tower(nn.Module):
    """One side of the trunk: an id's vector to that side's share of the latent Gaussian."""

    def __init__(self, rows: int, embedding: int, hidden: int, latent: int, dropout: float):
        super().__init__()
        # Sparse gradients: a step costs what its batch touches, not the size of the table.
        self.embedding = nn.Embedding(rows, embedding, sparse=True)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        self.trunk = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding, hidden), nn.GELU(), nn.Dropout(dropout))
        self.mu = nn.Linear(hidden, latent)
        self.log_var = nn.Linear(hidden, latent)
        nn.init.constant_(self.log_var.bias, LOG_VAR_START)

    def forward(self, id_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mu and log sigma^2 of this side's dimensions [B, D/2], and the id's squared norm [B]."""
        vector_BE = self.embedding(id_B)
        hidden_BH = self.trunk(vector_BE)
        return self.mu(hidden_BH), self.log_var(hidden_BH).clamp(*LOG_VAR_RANGE), vector_BE.square().sum(-1)


class PairEncoder(nn.Module):
    """(user, item) -> mu, log sigma^2.

    Trunk and heads over [E_U[u]; E_I[i]] are block-diagonal: half of the latent's dimensions belong to a side. What
    user and item do to each other is left to the decoder, so the latent has to carry the taste and not just the rating
    it leads to. A trunk that mixes the sides finds the rating itself, and the clusters become rating levels.
    """

    def __init__(self, users: int, items: int, embedding: int, hidden: int, latent: int, dropout: float):
        super().__init__()
        self.user = Tower(users + 1, embedding, hidden, latent // 2, dropout)
        self.item = Tower(items + 1, embedding, hidden, latent - latent // 2, dropout)

    def forward(self, user_B: Tensor, item_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mu [B, D], log sigma^2 [B, D] and the squared norm of the pair's two vectors [B] (for their decay)."""
        user_mu, user_log_var, user_norm = self.user(user_B)
        item_mu, item_log_var, item_norm = self.item(item_B)
        mu_BD = torch.cat([user_mu, item_mu], dim=-1)
        log_var_BD = torch.cat([user_log_var, item_log_var], dim=-1)
        return mu_BD, log_var_BD, user_norm + item_norm


class RatingDecoder(nn.Module):
    """Latent z -> logits over the R rating levels: a linear part for biases, and products for what taste meets."""

    def __init__(self, latent: int, hidden: int, levels: int, dropout: float):
        super().__init__()
        self.left = nn.Linear(latent, hidden)
        self.right = nn.Linear(latent, hidden)
        self.dropout = nn.Dropout(dropout)
        self.product = nn.Linear(hidden, levels, bias=False)
        self.linear = nn.Linear(latent, levels)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Logits [B, R]."""
        product_BH = self.left(z_BD) * self.right(z_BD)
        return self.linear(z_BD) + self.product(self.dropout(product_BH))
