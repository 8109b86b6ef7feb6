"""Do the texts speak of the right feature, of many features, of different ones (Li et al. 2020, NETE)."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from gavamoe.evaluation.metrics.metric import Metric, occurrences, ratio
from gavamoe.evaluation.outputs import Outputs

SOURCE = "Li et al. 2020 (NETE)"


def feature_matches(outputs: Outputs) -> np.ndarray | None:
    """Whether the text names the feature of its reference, and whether that is known: [n, 2]."""
    if outputs.features is None or not outputs.known_features:
        return None
    pairs = zip(outputs.named_features, outputs.features, strict=True)
    return np.array([(feature in named, bool(feature)) for named, feature in pairs], dtype=float)


def feature_occurrences(outputs: Outputs) -> sparse.csr_array | None:
    """Which features each text names: [n, all features]."""
    if not outputs.known_features:
        return None
    return occurrences(outputs.named_features, columns=list(outputs.known_features.values()))


def shared_by_pairs(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean number of features that two texts share; NaN for a single text.

    A feature named by m texts is shared by m (m - 1) / 2 pairs, so no pair has to be looked at.
    """
    return ratio((totals * (totals - 1)).sum(1), rows * (rows - 1))


METRICS = (
    Metric("FMR", True, SOURCE, feature_matches, lambda totals, rows: ratio(totals[:, 0], totals[:, 1])),
    Metric("FCR", True, SOURCE, feature_occurrences, lambda totals, rows: (totals > 0).mean(1), resamples=False),
    # A resample pairs a row with its own copies, which share all their features: no bootstrap here either.
    Metric("DIV", False, SOURCE, feature_occurrences, shared_by_pairs, resamples=False),
)
