"""Does the sentiment of a text fit the rating that was predicted beside it?

Sentiment is measured offline by a model of the corpus's own words: ridge regression from a reference text's words and
word pairs to the rating its writer gave. Each text is judged by a model that has not seen its own reference. A lexicon
would not know that "derivative" is a complaint about films; the reviews do.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.outputs import Outputs, Words

FOLDS = 5
FEWEST_RATED = 100  # rated texts that a model of sentiment can be learned from
MOST_RATED = 20_000  # more teach it little, and cost


def sentiment_and_rating(outputs: Outputs) -> np.ndarray | None:
    """Sums for a correlation of text sentiment x and predicted rating y: x, y, x², y², xy, and known: [n, 6]."""
    if outputs.predicted is None or outputs.true is None:
        return None
    predicted, true = (np.array(ratings, dtype=float) for ratings in (outputs.predicted, outputs.true))
    sentiment = sentiment_of(outputs.predictions, outputs.references, true)
    if sentiment is None:
        return None
    known = np.isfinite(predicted)
    # Centred first: sums of squares of numbers far from zero lose digits.
    x = sentiment - sentiment.mean()
    y = np.where(known, predicted - predicted[known].mean() if known.any() else 0, 0)
    return np.stack([x, y, x * x, y * y, x * y, np.ones_like(x)], axis=1) * known[:, None]


def sentiment_of(texts: Sequence[Words], references: Sequence[Words], ratings: np.ndarray) -> np.ndarray | None:
    """The rating that each text's words speak for, [n]; None where there is too little to learn it from.

    Args:
        texts: to be judged, as words.
        references: what people wrote, as words.
        ratings: what they gave, NaN where unknown.
    """
    rated = np.flatnonzero(np.isfinite(ratings))[:MOST_RATED]
    if len(rated) < FEWEST_RATED or np.ptp(ratings[rated]) == 0:
        return None
    written = [" ".join(words) for words in references]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\S+")
    try:
        learned = vectorizer.fit_transform([written[row] for row in rated])
    except ValueError:  # no word occurs twice
        return None
    judged = vectorizer.transform([" ".join(words) for words in texts])
    # By text, so that the same reference never stands on both sides.
    fold = np.array([crc32(text.encode("utf-8", "surrogatepass")) % FOLDS for text in written])
    return _judge(judged, fold, learned, fold[rated], ratings[rated])


def _judge(
    judged: sparse.csr_matrix,
    fold: np.ndarray,
    learned: sparse.csr_matrix,
    learned_fold: np.ndarray,
    ratings: np.ndarray,
) -> np.ndarray:
    sentiment = np.full(judged.shape[0], ratings.mean())
    for out in np.unique(fold):
        inside = learned_fold != out
        if inside.any():
            model = Ridge(alpha=1.0, solver="sparse_cg").fit(learned[inside], ratings[inside])
            sentiment[fold == out] = model.predict(judged[fold == out])
    return sentiment


def correlation(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation from the sums; NaN where either side does not vary."""
    x, y, xx, yy, xy, n = totals.T
    covariance, variance_x, variance_y = n * xy - x * y, n * xx - x * x, n * yy - y * y
    varied = (variance_x > 1e-9 * np.maximum(n * xx, 1e-9)) & (variance_y > 1e-9 * np.maximum(n * yy, 1e-9))
    return np.where(varied, ratio(covariance, np.sqrt(np.maximum(variance_x * variance_y, 0))), np.nan)


METRICS = (
    Metric(
        "rating coherence",
        True,
        "correlation of the text's sentiment, learned from the reference texts, with the predicted rating",
        sentiment_and_rating,
        correlation,
    ),
)
