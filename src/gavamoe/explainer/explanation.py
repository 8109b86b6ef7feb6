"""The result of explaining a pair: the text and everything that is reported with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

UserSource = Literal["training", "history", "unknown"]


@dataclass(frozen=True)
class Evidence:
    """A sentence from another user's training review of the item.

    Args:
        user: name of the author.
        text: the sentence.
        rating: the author's rating of the item, on the scale of the data source.
        score: mean of `parts`, in 0..1 (`gavamoe.explainer.evidence`).
        parts: the parts of the score by name.
        feature: the feature that the sentence mentions, if any.
        cluster: cluster of the author's pair with the item.
    """

    user: str
    text: str
    rating: float
    score: float
    parts: dict[str, float]
    feature: str | None
    cluster: int


@dataclass(frozen=True)
class Explanation:
    """Why an item suits a user.

    Args:
        user: name of the user.
        item: name of the item.
        text: the explanation.
        rating: predicted rating, on the scale of the data source.
        cluster: the pair's likeliest cluster in stage 1. With `gate_clusters=model`, its gate routed the text's tokens.
        responsibilities: of the clusters for the pair, summing to 1.
        cold_user: whether the user's embedding is not trained: the user is unknown, or estimated from a history.
        cold_item: whether the item has no training review.
        finished: whether the text ended with the end token instead of being cut off.
        feature: the feature that the prompt stated, if any.
        conditions: where the prompt's rating and feature came from, whether one was ground truth (`oracle`), what else
            the prompt may state (`context`), and how many sentences of evidence it quotes.
        user_source: where the user's embedding comes from: `training` reviews, the `history` of the request, or
            `unknown`, the typical user.
        experts: per layer, each expert's share of the text's routing; None if it was not requested.
        evidence: the best sentences by other users about the item, as many as requested; quoted ones come first.
    """

    user: str
    item: str
    text: str
    rating: float
    cluster: int
    responsibilities: list[float]
    cold_user: bool
    cold_item: bool
    finished: bool
    feature: str | None
    conditions: dict[str, Any]
    user_source: UserSource = "training"
    experts: list[list[float]] | None = None
    evidence: list[Evidence] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return asdict(self)
