"""Swap gap: what it costs the model to be told another user, or another item, than the one a real text is by or about.

swap_gap_user = loss of people's texts under another user - loss under their own, in nats per token
swap_gap_item = the same with another item

A model that ignores the user has a gap of 0: the floor. Everything that the prompt derives from the name changes with
it: soft tokens, cluster, predicted rating and feature, quotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import polars as pl

from gavamoe.conditions import Condition
from gavamoe.evaluation.bounds import partners
from gavamoe.evaluation.comparable import has_text
from gavamoe.evaluation.metrics.metric import Metric, ratio
from gavamoe.evaluation.training_texts import name_of
from gavamoe.explainer.explainer import Explainer

# Share of the rows that are scored, and least and greatest number of them: each takes three passes of the model.
ROWS_SHARE, MIN_ROWS, MAX_ROWS = 1 / 4, 16, 256
SOURCE = "loss of people's texts under another name minus under their own, in nats per token"


def swap_gap_metrics(
    explainer: Explainer, reviews: pl.DataFrame, condition: Condition
) -> tuple[tuple[Metric, ...], int]:
    """Measure both gaps on a sample of reviews with text whose user and item are known.

    Another name is that of another row of the sample, so that frequent users and items stay frequent.

    Args:
        explainer: the run.
        reviews: the evaluated reviews with user, item, user_id, item_id and text, [n].
        condition: where the prompt's rating and feature come from; a rating that is given stays that of the text.

    Returns:
        Metrics whose row statistics are those of `reviews`, and the number of rows that were scored.
    """
    known = (reviews["user_id"] > 0) & (reviews["item_id"] > 0) & has_text(reviews)
    count = min(max(int(ROWS_SHARE * len(reviews)), MIN_ROWS), MAX_ROWS)
    rows = sorted(by_content(reviews, known.arg_true().to_list())[:count])
    sample = reviews[rows]
    texts = sample["text"].to_list()
    if not rows:
        return (), 0
    own, tokens = explainer.text_losses(sample, texts, condition)
    metrics = []
    for name in ("user", "item"):
        names = [name_of(value) for value in sample[name].to_list()]
        partner = partners([0] * len(rows), names, row_keys(sample))
        swapped = np.flatnonzero(partner >= 0)
        statistics = np.zeros((len(reviews), 2))
        if len(swapped):
            others = sample[swapped].with_columns(sample[partner[swapped]][name])
            nats, _ = explainer.text_losses(others, [texts[row] for row in swapped], condition)
            statistics[np.array(rows)[swapped]] = np.stack([nats - own[swapped], tokens[swapped]], axis=1)
        metrics.append(precomputed(f"swap_gap_{name}", SOURCE, statistics))
    return tuple(metrics), len(rows)


def precomputed(name: str, source: str, statistics: np.ndarray) -> Metric:
    """Return a metric of given row statistics, [n, 2], whose value is the ratio of their sums; higher is better."""
    return Metric(
        name, True, source, lambda outputs: statistics, lambda totals, rows: ratio(totals[:, 0], totals[:, 1])
    )


def row_keys(reviews: pl.DataFrame) -> list[str]:
    """Return the content of each review as one string, [n]."""
    return ["\n".join(map(str, row)) for row in reviews.select("user", "item", "text").iter_rows()]


def by_content(reviews: pl.DataFrame, candidates: Sequence[int]) -> list[int]:
    """Return candidate rows in an arbitrary order that depends on their contents, not on the order of the rows."""
    keys = row_keys(reviews[list(candidates)])
    order = sorted(
        range(len(keys)), key=lambda place: (crc32(keys[place].encode("utf-8", "surrogatepass")), keys[place])
    )
    return [candidates[place] for place in order]
