"""Does a text speak of what nobody ever said of its item?"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.outputs import Outputs


def unsupported_features(outputs: Outputs) -> np.ndarray | None:
    """Features named that no training review of the item mentions, and features named: [n, 2]."""
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
        lambda totals, rows: ratio(totals[:, 0], totals[:, 1]),
    ),
)
