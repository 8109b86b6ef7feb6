"""Surface properties of single texts: `length` (words) and `rep-2` (repetition within a text, in percent).

rep-2 = 100 * mean over texts of (1 - distinct bigrams / bigrams), over texts of at least two words
"""

from __future__ import annotations

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, mean_of, ratio_of
from gavamoe.evaluation.outputs import Outputs, ngrams


def lengths(outputs: Outputs) -> np.ndarray:
    """Return the number of words of each text, [n, 1]."""
    return np.array([[len(words)] for words in outputs.predictions], dtype=float)


def repeated_bigrams(outputs: Outputs) -> np.ndarray:
    """Return the share of repeated bigrams of each text, and whether the text has bigrams, [n, 2]."""
    return np.array(
        [
            (1 - len(set(ngrams(words, 2))) / (len(words) - 1), 1) if len(words) > 1 else (0, 0)
            for words in outputs.predictions
        ],
        dtype=float,
    )


METRICS = (
    Metric("length", None, "mean words per text", lengths, mean_of(0)),
    Metric(
        "rep-2",
        False,
        "Su et al. 2022: share of a text's bigrams that repeat, in percent, mean over texts",
        repeated_bigrams,
        ratio_of(0, 1, factor=100),
    ),
)
