"""The networks of stage 1: an encoder from ids to a Gaussian over z, and a decoder from z to rating levels.

    user id -> embedding -> trunk -> mu, log sigma^2  \\
                                                       z -> logits over the R rating levels
    item id -> embedding -> trunk -> mu, log sigma^2  /

Every pair is encoded on its own: no operation mixes rows of the batch.
Shape suffixes: B batch, N users or items, F features, E embedding, H hidden, D latent, R rating levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.preference.id_table import IdTable

UNKNOWN = 0  # id of a user or item without a training review
# Bounds of log sigma^2: beyond them exp() carries no information and its gradient explodes.
LOG_VAR_RANGE = (-8.0, 4.0)
LOG_VAR_START = -2.0  # narrower than the prior, yet wide enough that the noise matters from the first step
HEAD_STD = 0.02  # initial standard deviation of the heads' weights
ROWS_AT_ONCE = 65_536  # of a table that are encoded
OFFSET_STD = 0.03  # initial standard deviation of offsets: small, so an id with one or two reviews stays near the mean


class SideEncoder(nn.Module):
    """The encoder of one side (user or item): an id to mu and log sigma^2 of that side's latent dimensions.

    The embedding of an id is the sum of three parts: a vector shared by all ids (`typical_E`), a projection of the
    id's description features if there are any (`read`), and the id's own offset. The unknown id 0 has only the first.

    Args:
        ids: number of ids, with the unknown id.
        embedding: E, dimensions of an embedding.
        hidden: H, width of the trunk.
        latent: latent dimensions of this side.
        dropout: dropout rate in the trunk.
        features: F, dimensions of description features; 0 without.
        rows: rows of the table of offsets, without that of the unknown id; None gives each id its own.
    """

    description_NF: Tensor

    def __init__(
        self,
        ids: int,
        embedding: int,
        hidden: int,
        latent: int,
        dropout: float,
        features: int = 0,
        rows: int | None = None,
    ):
        super().__init__()
        self.typical_E = nn.Parameter(torch.zeros(embedding))
        # With sparse gradients a step costs what its batch uses, whatever the size of the table.
        self.offset = IdTable(ids, embedding, rows, zero_unknown=True, sparse=True)
        nn.init.normal_(self.offset.weight, std=OFFSET_STD)
        with torch.no_grad():
            self.offset.weight[UNKNOWN] = 0.0
        self.features = features
        if features:
            self.register_buffer("description_NF", torch.zeros(ids, features))
            self.read = nn.Linear(features, embedding, bias=False)
            nn.init.zeros_(self.read.weight)
        self.trunk = nn.Sequential(nn.Dropout(dropout), nn.Linear(embedding, hidden), nn.GELU(), nn.Dropout(dropout))
        self.mu = nn.Linear(embedding + hidden, latent)
        self.log_var = nn.Linear(embedding + hidden, latent)
        nn.init.normal_(self.mu.weight, std=HEAD_STD)
        nn.init.normal_(self.log_var.weight, std=HEAD_STD)
        nn.init.constant_(self.log_var.bias, LOG_VAR_START)
        with torch.no_grad():  # mu starts as the embedding itself, so the SVD start of the embeddings reaches z
            self.mu.weight[:, :embedding] += torch.eye(latent, embedding)

    def vectors(self, id_B: Tensor) -> Tensor:
        """Return the embeddings of ids, [B, E]."""
        embedding_BE: Tensor = self.typical_E + self.offset(id_B)
        return embedding_BE + self.read(self.description_NF[id_B]) if self.features else embedding_BE

    def table(self) -> Tensor:
        """Return the embeddings of all ids by id, or by row if ids share rows, [N, E]."""
        embedding_NE: Tensor = self.typical_E + self.offset.weight
        return embedding_NE + self.read(self.description_NF) if self.features else embedding_NE

    def means(self) -> Tensor:
        """Return mu of all ids, [N, D/2], computed a few rows at a time: the trunk is wider than mu."""
        mu_ND = torch.cat([self.encode(rows_RE)[0] for rows_RE in torch.split(self.table(), ROWS_AT_ONCE)])
        return mu_ND if self.offset.row_N is None else mu_ND[self.offset.row_N.long()]

    def forward(self, id_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 of this side's latent dimensions, [B, D/2] each."""
        return self.encode(self.vectors(id_B))

    def encode(self, embedding_BE: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2 of given embeddings, [B, D/2] each."""
        hidden_BH = torch.cat([embedding_BE, self.trunk(embedding_BE)], dim=-1)
        return self.mu(hidden_BH), self.log_var(hidden_BH).clamp(*LOG_VAR_RANGE)


class PairEncoder(nn.Module):
    """The encoder q(z | u, i) = N(mu, diag sigma^2), from e = [E_U[u]; E_I[i]].

    Trunk and heads are block-diagonal: half of the latent dimensions depend on the user only, half on the item only.
    The decoder models how user and item interact, so z has to carry the taste. An encoder that mixes both sides
    predicts the rating itself, and its clusters become rating levels.

    Args:
        users: number of users, without the unknown.
        items: number of items, without the unknown.
        embedding: E, dimensions of an embedding.
        hidden: H, width of the trunk.
        latent: D, dimensions of z; D // 2 belong to the user.
        dropout: dropout rate in the trunk.
        item_features: F, dimensions of item description features; 0 without.
        user_rows: rows of the table of users, without that of the unknown; None gives each user its own.
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
        user_rows: int | None = None,
    ):
        super().__init__()
        self.users, self.items, self.user_latent = users, items, latent // 2
        self.user = SideEncoder(users + 1, embedding, hidden, self.user_latent, dropout, rows=user_rows)
        self.item = SideEncoder(items + 1, embedding, hidden, latent - self.user_latent, dropout, item_features)

    def forward(self, user_B: Tensor, item_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and log sigma^2, [B, D] each: the user's dimensions, then the item's."""
        sides = self.user(user_B), self.item(item_B)
        mu_BD, log_var_BD = (torch.cat(halves, dim=-1) for halves in zip(*sides, strict=True))
        return mu_BD, log_var_BD

    def latent_means(self) -> tuple[Tensor, Tensor]:
        """Return mu of all users and of all items by id, [N, D/2] each."""
        return self.user.means(), self.item.means()


class RatingDecoder(nn.Module):
    """The decoder p(r | z) = softmax(logits): a linear part for biases, and products for the interaction.

        logits = W z + b + P (L z_user * R z_item)

    Args:
        user_latent: latent dimensions of the user.
        item_latent: latent dimensions of the item.
        hidden: H, number of products.
        levels: R, number of rating levels.
        dropout: dropout rate of the products.
    """

    def __init__(self, user_latent: int, item_latent: int, hidden: int, levels: int, dropout: float):
        super().__init__()
        self.user_latent = user_latent
        self.left = nn.Linear(user_latent, hidden)
        self.right = nn.Linear(item_latent, hidden)
        self.dropout = nn.Dropout(dropout)
        self.product = nn.Linear(hidden, levels, bias=False)
        self.linear = nn.Linear(user_latent + item_latent, levels)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Return the logits of the rating levels, [B, R]."""
        z_BD = z_BD[:, : self.linear.in_features]  # behind them come the dimensions that explain texts
        product_BH = self.left(z_BD[:, : self.user_latent]) * self.right(z_BD[:, self.user_latent :])
        logits_BR: Tensor = self.linear(z_BD) + self.product(self.dropout(product_BH))
        return logits_BR
