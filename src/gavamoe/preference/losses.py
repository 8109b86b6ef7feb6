"""What stage 1 minimises, and how a model does on pairs it did not learn from.

Source: design of GaVaMoE, section 3.1 (ELBO); the KL is counted once a user and once an item.
Shape suffixes: B batch, D latent, K clusters, R rating levels, U users + 1, I items + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gavamoe.preference.batches import Batch, Interactions
from gavamoe.preference.networks import UNKNOWN


@dataclass(frozen=True)
class KLWeights:
    """What part of its user's and of its item's KL a pair carries: one over their training reviews.

    A user's half of z is drawn once, and so is an item's, however many reviews they have. Counting the KL once for each
    is the ELBO of that model; counting it again with every pair leaves users of one review as free as those of a
    hundred, or pins down both.
    """

    user_U: Tensor
    item_I: Tensor

    @classmethod
    def from_interactions(cls, train: Interactions, users: int, items: int, device: torch.device) -> KLWeights:
        """From the reviews of each user and item; all reviews speak of the unknown."""
        counts = train.counts(users, items)
        for count in counts:
            count[UNKNOWN] = len(train)
        return cls(*((1 / count.clamp_min(1)).to(device) for count in counts))

    def kl(self, losses: PairLosses, batch: Batch) -> Tensor:
        """The pairs' parts of the KL, [B]."""
        return losses.kl_user * self.user_U[batch.user_B] + losses.kl_item * self.item_I[batch.item_B]


@dataclass(frozen=True)
class PairLosses:
    """The parts of the negative ELBO, a value a pair [B]. The choice of component counts with the user."""

    nll: Tensor
    kl_user: Tensor
    kl_item: Tensor
