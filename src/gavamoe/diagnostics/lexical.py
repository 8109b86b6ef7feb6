"""Which labels a group of rows holds more often than the others do.

Source: log-odds ratio with an informative Dirichlet prior, Monroe, Colaresi and Quinn (2008), "Fightin' Words".
"""

from __future__ import annotations

import numpy as np

PRIOR_WEIGHT = 100.0  # labels' worth of belief that a group is like all others


def over_represented(count_GL: np.ndarray) -> np.ndarray:
    """z-scores [groups, labels] of each label's log odds in a group against the other groups; 0 where no group is left.

    count_GL: how often each group holds each label.
    """
    total_L = count_GL.sum(0, dtype=float)
    if total_L.sum() == 0:
        return np.zeros_like(count_GL, dtype=float)
    prior_L = PRIOR_WEIGHT * (total_L + 0.5) / (total_L + 0.5).sum()
    inside_GL, outside_GL = count_GL + prior_L, total_L - count_GL + prior_L
    score_GL = _log_odds(inside_GL) - _log_odds(outside_GL)
    return score_GL / np.sqrt(1 / inside_GL + 1 / outside_GL)


def _log_odds(count_GL: np.ndarray) -> np.ndarray:
    rest_GL = np.maximum(count_GL.sum(1, keepdims=True) - count_GL, 1e-9)
    return np.log(count_GL / rest_GL)
