"""What the explainer says of a pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Explanation:
    """Why this item for this user.

    rating: predicted, on the scale of the source. responsibilities: of the pair's clusters, summing to 1. experts: by
    layer, the share of the text's routing that each expert got. cold_user, cold_item: no training review, so the model
    spoke of someone or something unknown. finished: the text ended by itself. feature: the one in the prompt.
    conditions: where the prompt's rating and feature came from, and whether one was ground truth (oracle).
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
