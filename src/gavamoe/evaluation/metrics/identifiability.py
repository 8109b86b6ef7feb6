"""Identifiability: whether the item, and the user, can be told from the text, by TF-IDF retrieval of training profiles.

item_identifiability = share of the texts whose item has the most similar profile of all items (recall at 1)
user_identifiability = mean over texts of the share of other users whose profile is less similar (area under the curve)

Frequent reviewers have long profiles, which are similar to any text. So the user's value lies above one half even for a
text by somebody else: its floor, in `gavamoe.evaluation.bounds`. `user_identifiability/matched` weights the other users
by their number of rows, which removes that effect: one half is then chance.
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio_of
from gavamoe.evaluation.outputs import Outputs

SOURCE = "TF-IDF retrieval of training profiles"
TOP = 10


def item_ranks(outputs: Outputs) -> np.ndarray | None:
    """Return whether the item is ranked first, whether among the first ten, and whether it is known, [n, 3]."""
    if outputs.training is None or outputs.items is None:
        return None
    ranks = outputs.training.item_profiles.ranks(outputs.plain_predictions, outputs.items)
    return np.stack([ranks.top(1), ranks.top(TOP), ranks.known], axis=1).astype(float)


def user_ranks(outputs: Outputs) -> np.ndarray | None:
    """Return the share of other users ranked below, that weighted by rows, and whether the user is known, [n, 3]."""
    if outputs.training is None or outputs.users is None:
        return None
    ranks = outputs.training.user_profiles.ranks(outputs.plain_predictions, outputs.users)
    return np.stack([ranks.below_share, ranks.matched_share, ranks.known], axis=1).astype(float)


METRICS = (
    Metric("item_identifiability", True, SOURCE, item_ranks, ratio_of(0, 2)),
    Metric("user_identifiability", True, SOURCE, user_ranks, ratio_of(0, 2)),
)
FURTHER_METRICS = (
    Metric(f"item_identifiability/R@{TOP}", True, SOURCE, item_ranks, ratio_of(1, 2)),
    Metric("user_identifiability/matched", True, SOURCE, user_ranks, ratio_of(1, 2)),
)
