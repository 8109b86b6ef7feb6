"""Feature hallucination: the share of mentioned features that no training review of the item mentions, 0..1.

unsupported mentions / mentions, each feature counted once per text
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio_of
from gavamoe.evaluation.outputs import Outputs


def unsupported_features(outputs: Outputs) -> np.ndarray | None:
    """Return the number of mentioned features without support in the item's training reviews, and of all mentioned.

    Returns:
        Unsupported and all mentioned features per row, [n, 2]; None without a feature set or `item_features`.
    """
    if outputs.item_features is None or not outputs.known_features:
        return None
    pairs = zip(outputs.named_features, outputs.item_features, strict=True)
    return np.array([(len(named.difference(supported)), len(named)) for named, supported in pairs], dtype=float)


METRICS = (
    Metric(
        "feature hallucination",
        False,
        "share of the features named that no training review of the item mentions",
        unsupported_features,
        ratio_of(0, 1),
    ),
)
