"""Rating coherence: the correlation between the sentiment of a text and the rating predicted beside it, -1..1.

Sentiment is measured without external data, by a model of the corpus's own words: ridge regression from the words and
word pairs of a reference text to the rating that its author gave. Each text is scored by a model that was not fitted on
its own reference (cross-fitting). A general lexicon would not know that "derivative" is a complaint about films.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.outputs import Outputs, Words
from gavamoe.words import hash_text

FOLDS = 5
MIN_RATED = 100  # rated texts needed to fit the sentiment model
MAX_RATED = 20_000  # more texts improve the fit little and cost time


def sentiment_and_rating(outputs: Outputs) -> np.ndarray | None:
    """Return the sums for a correlation of text sentiment x and predicted rating y.

    Returns:
        x, y, x², y², xy, and 1 for a row with a predicted rating (rows without one are 0), [n, 6]; None without ratings
        or where the sentiment model cannot be fitted.
    """
    if outputs.predicted is None or outputs.true is None:
        return None
    predicted, true = (np.array(ratings, dtype=float) for ratings in (outputs.predicted, outputs.true))
    sentiment = predict_sentiment(outputs.predictions, outputs.references, true)
    if sentiment is None:
        return None
    known = np.isfinite(predicted)
    # Centred first: sums of squares of numbers far from zero lose digits.
    x = sentiment - sentiment.mean()
    y = np.where(known, predicted - predicted[known].mean() if known.any() else 0, 0)
    sums: np.ndarray = np.stack([x, y, x * x, y * y, x * y, np.ones_like(x)], axis=1) * known[:, None]
    return sums


def predict_sentiment(texts: Sequence[Words], references: Sequence[Words], ratings: np.ndarray) -> np.ndarray | None:
    """Predict the rating that each text's words express, by cross-fitting over the references.

    Args:
        texts: the texts to score, as words, [n].
        references: the texts that users wrote, as words, [n].
        ratings: the ratings that the users gave, [n]; NaN where unknown.

    Returns:
        Predicted ratings on the source's scale, [n]; None with fewer than `MIN_RATED` rated texts, equal ratings or no
        word that occurs twice.
    """
    has_text = np.array([bool(words) for words in references], dtype=bool)
    rated = np.flatnonzero(np.isfinite(ratings) & has_text)[:MAX_RATED]
    if len(rated) < MIN_RATED or np.ptp(ratings[rated]) == 0:
        return None
    reference_texts = [" ".join(words) for words in references]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"(?u)\S+")
    try:
        fitted = vectorizer.fit_transform([reference_texts[row] for row in rated])
    except ValueError:  # no word occurs twice
        return None
    scored = vectorizer.transform([" ".join(words) for words in texts])
    # Folds are a function of the text, so that equal references are never in both the fitted and the scored part.
    fold = np.array([hash_text(text) % FOLDS for text in reference_texts])
    return _cross_predict(scored, fold, fitted, fold[rated], ratings[rated])


def _cross_predict(
    scored: sparse.csr_matrix,
    scored_fold: np.ndarray,
    fitted: sparse.csr_matrix,
    fitted_fold: np.ndarray,
    ratings: np.ndarray,
) -> np.ndarray:
    """Predict each fold's texts with a ridge regression fitted on the references of the other folds, [n]."""
    sentiment = np.full(scored.shape[0], ratings.mean())
    for held_out in np.unique(scored_fold):
        inside = fitted_fold != held_out
        if inside.any():
            model = Ridge(alpha=1.0, solver="sparse_cg").fit(fitted[inside], ratings[inside])
            sentiment[scored_fold == held_out] = model.predict(scored[scored_fold == held_out])
    return sentiment


def correlation(totals: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation from the sums [b, 6]: [b]; NaN where either side has no variance."""
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
