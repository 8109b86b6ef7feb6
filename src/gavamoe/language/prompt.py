"""The prompt: which facts about the pair it may state, and how they are written.

    <|user|><|item|><|rating|>4<|feature|> music<|evidence|>what another wrote<|explain|>the text<|end|>

The first two marks carry the soft tokens. A fact that the condition withholds is left out with its mark; evidence is
there in runs that were trained with it (explainer.evidence). Around a base that uses one of the names itself, ours is
another (`tokenizer.token_name`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

PAD, END = "<|pad|>", "<|end|>"
USER, ITEM = "<|user|>", "<|item|>"
RATING, FEATURE, EXPLAIN, EVIDENCE = "<|rating|>", "<|feature|>", "<|explain|>", "<|evidence|>"
SPECIAL_TOKENS = (USER, ITEM, RATING, FEATURE, EXPLAIN, EVIDENCE)
FACT_TOKENS = (RATING, FEATURE, EVIDENCE)  # the marks that open a fact
QUOTED_WORDS = 40  # of a sentence of evidence


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
