"""Feature metrics FMR, FCR and DIV (Li et al. 2020, NETE): whether texts mention the right feature, and how many.

FMR = texts that mention the feature of their reference / texts whose reference has a feature
FCR = distinct features mentioned in any text / features of the dataset
DIV = mean number of features that two texts have in common (lower is better)
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from gavamoe.evaluation.metrics.metric import Metric, count_matrix, ratio, ratio_of
from gavamoe.evaluation.outputs import Outputs

SOURCE = "Li et al. 2020 (NETE)"


def feature_matches(outputs: Outputs) -> np.ndarray | None:
    """Return whether the text mentions its reference's feature, and whether that feature is known, [n, 2]."""
    if outputs.features is None or not outputs.known_features:
        return None
    pairs = zip(outputs.named_features, outputs.features, strict=True)
    return np.array([(feature in named, bool(feature)) for named, feature in pairs], dtype=float)


def feature_counts(outputs: Outputs) -> sparse.csr_array | None:
    """Return which features each text mentions, [n, all features]."""
    if not outputs.known_features:
        return None
    return count_matrix(outputs.named_features, columns=list(outputs.known_features.values()))


def mean_shared_features(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the mean number of features that two texts share, [b]; NaN for a single text.

    A feature that m texts mention is shared by m (m - 1) / 2 pairs, so the pairs need not be enumerated:
    DIV = sum over features of m (m - 1) / (n (n - 1)).
    """
    return ratio((totals * (totals - 1)).sum(1), rows * (rows - 1))


METRICS = (
    Metric("FMR", True, SOURCE, feature_matches, ratio_of(0, 1)),
    Metric("FCR", True, SOURCE, feature_counts, lambda totals, rows: (totals > 0).mean(1), bootstrap=False),
    # A resample pairs a row with its own copies, which share all their features: the bootstrap does not apply to DIV.
    Metric("DIV", False, SOURCE, feature_counts, mean_shared_features, bootstrap=False),
)
