"""The prompt: which facts about the pair it may state, and how they are written.

    <|user|><|item|><|rating|>4<|feature|>music<|explain|>the text<|end|>

The two marks carry the soft tokens. A fact that the condition withholds is left out with its mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["none", "predicted", "given"]

PAD, END = "<|pad|>", "<|end|>"
USER, ITEM = "<|user|>", "<|item|>"
RATING, FEATURE, EXPLAIN = "<|rating|>", "<|feature|>", "<|explain|>"
MARKS = (USER, ITEM, RATING, FEATURE, EXPLAIN)


@dataclass(frozen=True)
class Condition:
    """What the prompt may know. `given` is ground truth: an oracle, printed with every number, never the default."""

    rating: Source = "predicted"
    feature: Source = "none"

    @property
    def oracle(self) -> bool:
        """Whether ground truth enters the prompt."""
        return "given" in (self.rating, self.feature)

    def to_dict(self) -> dict[str, Any]:
        """As it is written beside what was made under it."""
        return {"rating": self.rating, "feature": self.feature, "oracle": self.oracle}


def render(level: int | None, feature: str | None) -> str:
    """The prompt of one pair; `level` in 1..R."""
    rating_part = f"{RATING}{level}" if level is not None else ""
    feature_part = f"{FEATURE}{feature}" if feature else ""
    return f"{USER}{ITEM}{rating_part}{feature_part}{EXPLAIN}"
