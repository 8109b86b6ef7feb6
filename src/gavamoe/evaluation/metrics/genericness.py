"""Genericness: how much of a text could stand in a review of any item, 0..1.

genericness = mean over texts of two words or more of (generic bigrams / bigrams)

A bigram of words is generic for a text if training reviews of at least 1 % of the items, and of at least two, contain
it; the text's own item does not count. The value is no mean over items of the system's own texts, so it does not depend
on how many texts are scored.
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio_of
from gavamoe.evaluation.outputs import Outputs


def generic_shares(outputs: Outputs) -> np.ndarray | None:
    """Return the share of generic bigrams of each text, and whether the text has a bigram, [n, 2]."""
    if outputs.training is None or outputs.items is None:
        return None
    generic, total = outputs.training.item_bigrams.generic(outputs.plain_predictions, outputs.items)
    return np.stack([generic / np.maximum(total, 1), total > 0], axis=1).astype(float)


METRICS = (
    Metric(
        "genericness",
        False,
        "share of a text's bigrams that training reviews of other items share",
        generic_shares,
        ratio_of(0, 1),
    ),
)
