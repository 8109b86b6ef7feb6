"""The terms of the negative ELBO, and the weight of each pair's KL.

Source: arXiv 2410.11841, section 3.1. This model counts the KL once per user and once per item.
Shape suffixes: B batch, U users + 1, I items + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.networks import UNKNOWN


@dataclass(frozen=True)
class PairLosses:
    """The terms of each pair's negative ELBO in nats, [B] each.

    Attributes:
        nll: -log p(r | z), the reconstruction of the rating.
        kl_user: KL of the user's latent dimensions, plus the KL of the component q(c) = gamma.
        kl_item: KL of the item's latent dimensions.
    """

    nll: Tensor
    kl_user: Tensor
    kl_item: Tensor


@dataclass(frozen=True)
class KLWeights:
    """The weight of a pair's KL terms: 1 / (training reviews of the user), 1 / (training reviews of the item).

    A user's latent is drawn once, however many reviews the user has; an item's latent likewise. So the ELBO counts the
    KL once per user and per item. Counting it with every pair would regularise users with one review as little as
    users with a hundred, or else users with a hundred too much.

    Attributes:
        user_U: weight by user id, [U].
        item_I: weight by item id, [I].
    """

    user_U: Tensor
    item_I: Tensor

    @classmethod
    def from_interactions(cls, train: Interactions, users: int, items: int, device: torch.device) -> KLWeights:
        """Return the weights for the review counts of a training split; every review counts for the unknown id 0."""
        counts = train.counts(users, items)
        for count in counts:
            count[UNKNOWN] = len(train)
        return cls(*((1 / count.clamp_min(1)).to(device) for count in counts))

    def weighted_kl(self, losses: PairLosses, batch: Batch) -> Tensor:
        """Return each pair's share of the KL in nats, [B]; over an epoch it sums to once per user and item."""
        return losses.kl_user * self.user_U[batch.user_B] + losses.kl_item * self.item_I[batch.item_B]
