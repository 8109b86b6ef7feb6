"""The prompt: which fields describe the pair, and how they are written.

    <|user|><|item|><|rating|>4<|feature|> music<|evidence|>a sentence of another review<|explain|>the text<|end|>

The vectors of the user and the item stand at the first two special tokens. A field that the condition withholds is left
out with its special token. Evidence is quoted only in runs that were trained with it (`explainer.evidence`). A special
token whose name a base model already uses gets another name (`tokenizer.token_name`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gavamoe.words import first_words

PAD, END = "<|pad|>", "<|end|>"
USER, ITEM = "<|user|>", "<|item|>"
RATING, FEATURE, EXPLAIN, EVIDENCE = "<|rating|>", "<|feature|>", "<|explain|>", "<|evidence|>"
SPECIAL_TOKENS = (USER, ITEM, RATING, FEATURE, EXPLAIN, EVIDENCE)
FIELD_TOKENS = (RATING, FEATURE, EVIDENCE)  # each opens a field of the prompt
QUOTED_WORDS = 40  # longest quotation of a sentence of evidence


def render_prompt(
    level: int | None,
    feature: str | None,
    evidence: Sequence[str] = (),
    token_name: Callable[[str], str] = str,
) -> str:
    """Return the prompt of one pair.

    Args:
        level: rating level in 1..R; None leaves the field out.
        feature: the aspect that the text speaks of; None leaves the field out.
        evidence: sentences to quote.
        token_name: gives the tokenizer's name of each of SPECIAL_TOKENS.
    """
    rating_field = f"{token_name(RATING)}{level}" if level is not None else ""
    # The space makes the feature's subwords those that it has inside a text.
    feature_field = f"{token_name(FEATURE)} {feature}" if feature else ""
    evidence_fields = "".join(f"{token_name(EVIDENCE)}{_quote(sentence)}" for sentence in evidence)
    return f"{token_name(USER)}{token_name(ITEM)}{rating_field}{feature_field}{evidence_fields}{token_name(EXPLAIN)}"


def _quote(sentence: str) -> str:
    """Shorten a review sentence and break up anything in it that reads like a special token."""
    return first_words(sentence.replace("<|", "< |"), QUOTED_WORDS)
