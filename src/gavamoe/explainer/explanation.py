"""What the explainer says of a pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """A sentence of a training review of the item, who wrote it and the rating they gave (scale of the source).

    score: in 0..1, the mean of its parts (`gavamoe.explainer.evidence`). cluster: of the author's pair with the item.
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
    """Why this item for this user.

    rating: predicted, on the scale of the source. responsibilities: of the pair's clusters, summing to 1. experts: by
    layer, the share of the text's routing that each expert got. cold_user, cold_item: no training review, so the model
    spoke of someone or something unknown. finished: the text ended by itself. feature: the one in the prompt.
    conditions: where the prompt's rating and feature came from, whether one was ground truth (oracle), and how many
    sentences of evidence it quoted. evidence: the best sentences of others about the item, as many as were asked for,
    the quoted ones first.
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
    experts: list[list[float]] | None = None
    evidence: list[Evidence] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
