"""The model as a ranker of sentences: does it prefer what the user is going to say? After StaR.

candidates    training sentences by others about the item that state something: a (feature, polarity) pair
relevant      the candidates that state what the user's own, held-out review states
score         loss of the sentence as a text of the pair, in nats per token; the lowest is ranked first
value         mean reciprocal rank of the first relevant candidate

StaR (Kabongo et al. 2026, arXiv 2604.03724) ranks statements of the item in the same way, and finds popularity a
strong baseline. All candidates are of the training split. Prompts in words quote none of them: their quotations are
withheld. The floor ranks the candidates of an item by how many of its training sentences state the same, which depends
on the item alone. The ceiling is 1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import comb

import numpy as np
import polars as pl

from gavamoe.conditions import Condition
from gavamoe.evaluation.bounds import Bounds
from gavamoe.evaluation.metrics.metric import Metric
from gavamoe.evaluation.training_texts import Statement, find_statements
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.swap_gap import by_content, precomputed
from gavamoe.words import hash_text, normalize_text

# Share of the rows that are ranked, least and greatest number of them, and the most candidates of one row.
ROWS_SHARE, MIN_ROWS, MAX_ROWS, MAX_CANDIDATES = 1 / 32, 8, 64, 16
MAX_TRIES = 16  # rows that are tried for each row that is wanted
NAME = "sentence_rank_mrr"
SOURCE = "mean reciprocal rank of training sentences that state what the review states, by the model's loss"


@dataclass(frozen=True)
class Candidates:
    """The candidate sentences of one row.

    Args:
        row: of the evaluated reviews.
        sentences: texts.
        relevant: whether each states what the review states.
        popularity: how many training sentences of the item make the most frequent statement of each.
    """

    row: int
    sentences: list[str]
    relevant: np.ndarray
    popularity: np.ndarray


@dataclass(frozen=True)
class SentenceRanking:
    """The result on n rows.

    Args:
        metric: of the model's ranking; rows that were not ranked do not count.
        bounds: popularity as the floor, 1 as the ceiling.
        random: the value of a random order.
        rows: number of rows that were ranked.
    """

    metric: Metric
    bounds: Bounds
    random: float
    rows: int


def rank_sentences(explainer: Explainer, reviews: pl.DataFrame, condition: Condition) -> SentenceRanking | str:
    """Rank training sentences of the item for a sample of reviews.

    A prompt that quotes a candidate would have it copied, not ranked. So prompts in words quote nothing here.

    Args:
        explainer: the run, whose evidence index holds the sentences.
        reviews: the evaluated reviews with user, item, user_id, item_id and text, [n].
        condition: where the prompt's rating and feature come from.

    Returns:
        The ranking, or why it cannot be measured: no row has a relevant and an irrelevant candidate, or prompts of
        special tokens quote evidence, which they cannot leave out.
    """
    if explainer.context.template is None and explainer.context.evidence_quotes:
        return "prompts of special tokens quote sentences about the item (explainer.evidence), so they cannot be ranked"
    found = find_candidates(explainer, reviews)
    if not found:
        return "no training sentence of an item states what a review of it states"
    if condition.states("evidence"):
        condition = replace(condition, context="item")
    rows = [each.row for each in found for _ in each.sentences]
    sentences = [sentence for each in found for sentence in each.sentences]
    nats, tokens = explainer.text_losses(reviews[rows], sentences, condition)
    ends = np.cumsum([len(each.sentences) for each in found])[:-1]
    scores = np.split(-nats / tokens, ends)
    statistics = np.zeros((len(reviews), 2))
    for each, score in zip(found, scores, strict=True):
        statistics[each.row] = reciprocal_rank(score, each.relevant), 1
    popular = np.mean([reciprocal_rank(each.popularity, each.relevant) for each in found])
    random = np.mean([reciprocal_rank(np.zeros(len(each.relevant)), each.relevant) for each in found])
    bounds = Bounds(float(popular), 1.0)
    return SentenceRanking(precomputed(NAME, SOURCE, statistics), bounds, float(random), len(found))


def find_candidates(explainer: Explainer, reviews: pl.DataFrame) -> list[Candidates]:
    """Return the candidates of a sample of rows that have a relevant and an irrelevant one."""
    wanted = min(max(int(ROWS_SHARE * len(reviews)), MIN_ROWS), MAX_ROWS)
    extractor = explainer.catalog.extractor
    stated = find_statements(extractor, [normalize_text(text) for text in reviews["text"].fill_null("").to_list()])
    items, users = reviews["item_id"].to_list(), reviews["user_id"].to_list()
    eligible = [row for row, item in enumerate(items) if item and stated[row]]
    sentences: dict[int, ItemSentences] = {}
    found: list[Candidates] = []
    # Most rows of sparse data have no relevant candidate; the bound keeps the search short.
    for row in by_content(reviews, eligible)[: MAX_TRIES * wanted]:
        if items[row] not in sentences:
            sentences[items[row]] = ItemSentences.of_item(explainer, items[row])
        candidates = sentences[items[row]].candidates(row, users[row], stated[row])
        if candidates is not None:
            found.append(candidates)
        if len(found) == wanted:
            break
    return found


@dataclass(frozen=True)
class ItemSentences:
    """The distinct training sentences of an item that state something.

    Args:
        texts: the sentences, in an arbitrary order that depends on the texts alone, [s].
        users: their authors' ids, [s].
        statements: of each, [s].
        counts: how many sentences of the item make each statement.
    """

    texts: list[str]
    users: list[int]
    statements: list[set[Statement]]
    counts: Counter[Statement]

    @classmethod
    def of_item(cls, explainer: Explainer, item_id: int) -> ItemSentences:
        """Read the sentences of an item from the run's evidence index."""
        about = explainer.context.evidence.sentences_about(item_id)
        rows = about.select("text", "user_id").unique(maintain_order=True)
        rows = rows.sort(pl.col("text").map_elements(hash_text, return_dtype=pl.Int64), "text", "user_id")
        texts, users = rows["text"].to_list(), rows["user_id"].to_list()
        statements = find_statements(explainer.catalog.extractor, [normalize_text(text) for text in texts])
        kept = [place for place, made in enumerate(statements) if made]
        counts = Counter(statement for place in kept for statement in statements[place])
        return cls(
            [texts[place] for place in kept],
            [users[place] for place in kept],
            [statements[place] for place in kept],
            counts,
        )

    def candidates(self, row: int, user: int, true: set[Statement]) -> Candidates | None:
        """Return up to MAX_CANDIDATES candidates of a review; None without a relevant or without an irrelevant one.

        Args:
            row: of the review.
            user: its author's id, whose sentences are left out.
            true: what it states.
        """
        by_text: dict[str, int] = {}
        for place, author in enumerate(self.users):
            if author != user:
                by_text.setdefault(self.texts[place], place)
        chosen = list(by_text.values())[:MAX_CANDIDATES]
        relevant = np.array([bool(self.statements[place] & true) for place in chosen], dtype=bool)
        if not relevant.any() or relevant.all():
            return None
        popularity = [max(self.counts[statement] for statement in self.statements[place]) for place in chosen]
        return Candidates(row, [self.texts[place] for place in chosen], relevant, np.array(popularity, dtype=float))


def reciprocal_rank(scores: np.ndarray, relevant: np.ndarray) -> float:
    """Return the expected reciprocal rank of the first relevant candidate when ties are ordered at random.

    Args:
        scores: the highest is ranked first, [c]; scores that agree to 9 decimals are ties.
        relevant: [c]; at least one.
    """
    rounded = np.round(scores, 9)
    best = rounded[relevant].max()
    before, tied = int((rounded > best).sum()), rounded == best
    size, hits = int(tied.sum()), int((tied & relevant).sum())
    return sum(
        comb(size - place, hits - 1) / comb(size, hits) / (before + place) for place in range(1, size - hits + 2)
    )
