"""The text block of stage 1: a variational autoencoder of what reviews speak of, beside the ratings.

    (user, item) -> encoder -> z_t -> logits over the vocabulary <- rating level
    p(r, w | z) = p(r | z_r) * prod_v p(v | z_t, r)

The pair's latent is z = (z_r, z_t). Given the rating, the words depend on z_t only. So z_t describes what a user speaks
of and what an item is about; how generous a user is stays in z_r. The ratings do not depend on z_t, so they are
predicted as well as without texts. The mixture prior covers all of z: its components differ in taste and in topics.

Shape suffixes: B batch, D latent of this block, V vocabulary, T units of a review, R rating levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.preference.networks import PairEncoder

DECODER_STD = 0.05  # initial standard deviation of the decoder's weights


class TextBlock(nn.Module):
    """The encoder q(z_t | u, i) and the decoder p(v | z_t, r) = softmax(W z_t + b + c_r).

    Args:
        users: number of users, without the unknown.
        items: number of items, without the unknown.
        levels: R, number of rating levels.
        latent: D, dimensions of z_t; half belong to the user, half to the item.
        embedding: dimensions of this block's user and item embeddings.
        hidden: width of the trunk.
        vocabulary: V, number of units.
        dropout: dropout rate in the encoder's trunk.
        item_features: dimensions of item description features; 0 without.
        user_rows: rows of the table of users; None gives each user its own.
    """

    def __init__(
        self,
        users: int,
        items: int,
        levels: int,
        latent: int,
        embedding: int,
        hidden: int,
        vocabulary: int,
        dropout: float = 0.0,
        item_features: int = 0,
        user_rows: int | None = None,
    ):
        super().__init__()
        self.encoder = PairEncoder(users, items, embedding, hidden, latent, dropout, item_features, user_rows)
        self.decoder = nn.Linear(latent, vocabulary)
        self.level = nn.Embedding(levels, vocabulary)
        nn.init.normal_(self.decoder.weight, std=DECODER_STD)
        nn.init.zeros_(self.decoder.bias)
        nn.init.zeros_(self.level.weight)

    @torch.no_grad()
    def start_from_frequencies(self, count_V: Tensor) -> None:
        """Set the decoder's bias to the log frequencies of the units in the training reviews."""
        self.decoder.bias.copy_(((count_V + 1) / (count_V + 1).sum()).log())

    def nll(self, z_BD: Tensor, level_B: Tensor, unit_BT: Tensor) -> Tensor:
        """Return -log p(units | z_t, r) of each review in nats, [B]; 0 for a review without units.

        Args:
            z_BD: latents of this block.
            level_B: levels 0..R-1.
            unit_BT: ids of the units, 1..V; 0 is padding.
        """
        logits_BV = self.decoder(z_BD) + self.level(level_B)
        log_p_BT = torch.log_softmax(logits_BV, dim=-1).gather(1, (unit_BT.long() - 1).clamp_min(0))
        nll_B: Tensor = -(log_p_BT * (unit_BT > 0)).sum(-1)
        return nll_B


def standard_normal_kl(mu_BD: Tensor, log_var_BD: Tensor) -> Tensor:
    """Return KL( N(mu, sigma^2) || N(0, 1) ) of each dimension in nats, [B, D]."""
    return 0.5 * (mu_BD.square() + log_var_BD.exp() - 1 - log_var_BD)
