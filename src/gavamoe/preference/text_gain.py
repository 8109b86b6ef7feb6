"""How much the clusters say about the texts: a unigram model of each cluster, on held-out reviews.

    p(v | c) = (count of v in c + m p(v)) / (units in c + m)        p(v): frequency in all training reviews

The loss of held-out reviews under p(v | c) minus that under p(v) is the information that the cluster carries about what
is written, in nats per unit. Clusters without information gain 0.

Shape suffixes: B reviews, T units of a review, V vocabulary, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Pseudo-counts m that are tried. The best one is chosen by leave-one-out on the training reviews.
PSEUDO_COUNTS = tuple(10.0**power for power in np.arange(1.0, 7.5, 0.5))


@dataclass(frozen=True)
class ClusterUnigrams:
    """Unigram models of clusters.

    Args:
        log_p_KV: log p(v | c), [K, V].
        log_p_V: log p(v), [V].
    """

    log_p_KV: Tensor
    log_p_V: Tensor

    @classmethod
    def fit(cls, unit_BT: Tensor, cluster_B: Tensor, clusters: int) -> ClusterUnigrams:
        """Return the models of training reviews.

        Args:
            unit_BT: ids of the units of each review, counted from 1; 0 is padding.
            cluster_B: the cluster of each review.
            clusters: K.
        """
        unit_BT, vocabulary = unit_BT.long().cpu(), int(unit_BT.max())
        place_BT = cluster_B.cpu()[:, None] * vocabulary + unit_BT - 1
        count_KV = torch.bincount(place_BT[unit_BT > 0], minlength=clusters * vocabulary)
        count_KV = count_KV.view(clusters, vocabulary).double()
        total_V = count_KV.sum(0) + 0.5
        p_V = total_V / total_V.sum()
        size_K1 = count_KV.sum(1, keepdim=True)

        def leave_one_out(pseudo: float) -> float:
            """Return the likelihood of each training unit under the model without it, in nats."""
            without_KV = (count_KV - 1).clamp_min(0) + pseudo * p_V
            return float((count_KV * (without_KV / (size_K1 - 1 + pseudo).clamp_min(1e-9)).log()).sum())

        best = max(PSEUDO_COUNTS, key=leave_one_out)
        return cls(((count_KV + best * p_V) / (size_K1 + best)).log(), p_V.log())

    def loss(self, unit_BT: Tensor, cluster_B: Tensor) -> float:
        """Return the loss of reviews given their clusters, in nats per unit."""
        return _mean_loss(self.log_p_KV, cluster_B.cpu(), unit_BT)

    def gain(self, unit_BT: Tensor, cluster_B: Tensor) -> float:
        """Return how much lower the loss is with the clusters than without, in nats per unit."""
        return _mean_loss(self.log_p_V[None], torch.zeros_like(cluster_B.cpu()), unit_BT) - self.loss(
            unit_BT, cluster_B
        )


def _mean_loss(log_p_KV: Tensor, cluster_B: Tensor, unit_BT: Tensor) -> float:
    """Return the mean loss in nats per unit; units that no training review has do not count."""
    unit_BT, vocabulary = unit_BT.long().cpu(), log_p_KV.shape[1]
    known_BT = (unit_BT > 0) & (unit_BT <= vocabulary)
    log_p_BT = log_p_KV[cluster_B[:, None], (unit_BT - 1).clamp(0, vocabulary - 1)]
    return float(-(log_p_BT * known_BT).sum() / known_BT.sum().clamp_min(1))
