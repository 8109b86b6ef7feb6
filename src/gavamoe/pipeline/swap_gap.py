"""Swap gap: how much the loss of a person's text rises if the prompt names another user, or another item.

swap_gap_user = loss of people's texts under another user - loss under their own, in nats per token
swap_gap_item = the same with another item

A model that ignores the user has a gap of 0: the floor. No ceiling is known. Everything that the prompt derives from
the name changes with it: soft tokens, cluster, predicted rating and feature, quotations.

The gap of word frequencies is reported beside it, in nats per word (`gavamoe.evaluation.word_models`). It uses only
which words a user or item attracts. A model with a larger gap uses more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from gavamoe.conditions import Condition
from gavamoe.evaluation.bounds import partners
from gavamoe.evaluation.comparable import has_text
from gavamoe.evaluation.metrics.metric import Metric, ratio_of
from gavamoe.evaluation.row_scores import Metrics
from gavamoe.evaluation.training_texts import TrainingTexts, name_of
from gavamoe.evaluation.word_models import WordModels
from gavamoe.explainer.explainer import Explainer
from gavamoe.words import hash_text, normalize_text

# Share of the rows that are scored, and least and greatest number of them: each takes three passes of the model.
ROWS_SHARE, MIN_ROWS, MAX_ROWS = 1 / 4, 16, 256
SOURCE = "loss of people's texts under another name minus under their own, in nats per token"


@dataclass(frozen=True)
class SwapGaps:
    """Both swap gaps of a model on n reviews.

    Args:
        metrics: of user and item; their row statistics are those of the n reviews. Empty if no row was scored.
        word_gaps: the same gap of word frequencies, by metric name; None where it is unknown.
        rows: number of rows that were scored.
    """

    metrics: tuple[Metric, ...] = ()
    word_gaps: Metrics = field(default_factory=dict)
    rows: int = 0


def measure_swap_gaps(
    explainer: Explainer, reviews: pl.DataFrame, condition: Condition, training: TrainingTexts | None = None
) -> SwapGaps:
    """Measure both gaps on a sample of reviews with text whose user and item are known.

    Another name is that of another row of the sample, so that frequent users and items stay frequent.

    Args:
        explainer: the run.
        reviews: the evaluated reviews with user, item, user_id, item_id and text, [n].
        condition: where the prompt's rating and feature come from; a rating that is given stays that of the text.
        training: the training texts, for the gaps of word frequencies; None leaves them unknown.
    """
    known = (reviews["user_id"] > 0) & (reviews["item_id"] > 0) & has_text(reviews)
    count = min(max(int(ROWS_SHARE * len(reviews)), MIN_ROWS), MAX_ROWS)
    rows = np.array(sorted(by_content(reviews, known.arg_true().to_list())[:count]), dtype=np.int64)
    if not len(rows):
        return SwapGaps()
    sample = reviews[rows]
    own, tokens = explainer.text_losses(sample, sample["text"].to_list(), condition)
    metrics, word_gaps = [], {}
    for name in ("user", "item"):
        names = [name_of(value) for value in sample[name].to_list()]
        partner = partners([0] * len(rows), names, row_keys(sample))
        swapped = np.flatnonzero(partner >= 0)
        statistics, word_gap = np.zeros((len(reviews), 2)), None
        if len(swapped):
            texts, others = sample["text"][swapped].to_list(), sample[name][partner[swapped]]
            nats, _ = explainer.text_losses(sample[swapped].with_columns(others), texts, condition)
            statistics[rows[swapped]] = np.stack([nats - own[swapped], tokens[swapped]], axis=1)
            if training is not None:
                word_gap = _word_gap(training, name, texts, sample[name][swapped], others)
        metrics.append(precomputed(f"swap_gap_{name}", SOURCE, statistics))
        word_gaps[f"swap_gap_{name}"] = word_gap
    return SwapGaps(tuple(metrics), word_gaps, len(rows))


def _word_gap(
    training: TrainingTexts, column: str, texts: Sequence[str], own: pl.Series, others: pl.Series
) -> float | None:
    """Return the gap of word frequencies: what the training texts of a name alone tell about its other texts."""
    models = WordModels(training.users if column == "user" else training.items, training.texts)
    plain = [normalize_text(text) for text in texts]
    return models.gap(plain, *([name_of(name) for name in names.to_list()] for names in (own, others)))


def precomputed(name: str, source: str, statistics: np.ndarray) -> Metric:
    """Return a metric of given row statistics, [n, 2], whose value is the ratio of their sums; higher is better."""
    return Metric(name, True, source, lambda outputs: statistics, ratio_of(0, 1))


def row_keys(reviews: pl.DataFrame) -> list[str]:
    """Return the content of each review as one string, [n]."""
    return ["\n".join(map(str, row)) for row in reviews.select("user", "item", "text").iter_rows()]


def by_content(reviews: pl.DataFrame, candidates: Sequence[int]) -> list[int]:
    """Return candidate rows in an arbitrary order that depends on their contents, not on the order of the rows."""
    keys = row_keys(reviews[list(candidates)])
    order = sorted(range(len(keys)), key=lambda place: (hash_text(keys[place]), keys[place]))
    return [candidates[place] for place in order]
