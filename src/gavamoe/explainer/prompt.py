"""The prompt: which facts about the pair it may state, and how they are written.

    <|user|><|item|><|rating|>4<|feature|> music<|evidence|>what another wrote<|explain|>the text<|end|>

The first two marks carry the soft tokens. A fact that the condition withholds is left out with its mark; evidence is
there in runs that were trained with it (explainer.evidence). Around a base that uses one of the names itself, ours is
another (`tokenizer.name_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Source = Literal["none", "predicted", "given"]

PAD, END = "<|pad|>", "<|end|>"
USER, ITEM = "<|user|>", "<|item|>"
RATING, FEATURE, EXPLAIN, EVIDENCE = "<|rating|>", "<|feature|>", "<|explain|>", "<|evidence|>"
MARKS = (USER, ITEM, RATING, FEATURE, EXPLAIN, EVIDENCE)
FACTS = (RATING, FEATURE, EVIDENCE)  # the marks that open a fact
QUOTED_WORDS = 40  # of a sentence of evidence


@dataclass(frozen=True)
class Condition:
    """What the prompt may know. `given` is ground truth: an oracle, printed with every number, never the default."""

    rating: Source = "predicted"
    feature: Source = "predicted"

    @property
    def oracle(self) -> bool:
        """Whether ground truth enters the prompt."""
        return "given" in (self.rating, self.feature)

    @property
    def slug(self) -> str:
        """As a file name."""
        return f"rating-{self.rating}_feature-{self.feature}"

    def to_dict(self) -> dict[str, Any]:
        """As it is written beside what was made under it."""
        return {"rating": self.rating, "feature": self.feature, "oracle": self.oracle}


TRUTH = Condition("given", "given")  # of the reviews that training and its validation loss read


def render(
    level: int | None, feature: str | None, evidence: Sequence[str] = (), name: Callable[[str], str] = str
) -> str:
    """The prompt of one pair; `level` in 1..R, `evidence` the sentences it may quote, `name` what a mark is called."""
    rating_part = f"{name(RATING)}{level}" if level is not None else ""
    feature_part = f"{name(FEATURE)} {feature}" if feature else ""  # with a blank, in the subwords of the text itself
    evidence_part = "".join(f"{name(EVIDENCE)}{_quoted(sentence)}" for sentence in evidence)
    return f"{name(USER)}{name(ITEM)}{rating_part}{feature_part}{evidence_part}{name(EXPLAIN)}"


def _quoted(sentence: str) -> str:
    """A sentence that people wrote, short, and without anything that could pass for one of our marks."""
    return " ".join(sentence.replace("<|", "< |").split()[:QUOTED_WORDS])
