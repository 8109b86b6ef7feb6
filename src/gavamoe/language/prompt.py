"""The prompt: which fields describe the pair, and how they are written with special tokens.

    <|user|><|item|><|rating|>4<|feature|> music<|evidence|>a sentence of another review<|explain|>the text<|end|>

The vectors of the user and the item stand at the first two special tokens. A field that the condition withholds is left
out with its special token. Evidence is quoted only in runs that were trained with it (`explainer.evidence`). A special
token whose name a base model already uses gets another name (`tokenizer.token_name`). A prompt in words, which a
pretrained model can read, is a template (`gavamoe.language.template`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from gavamoe.words import first_words

PAD, END = "<|pad|>", "<|end|>"
USER, ITEM = "<|user|>", "<|item|>"
RATING, FEATURE, EXPLAIN, EVIDENCE = "<|rating|>", "<|feature|>", "<|explain|>", "<|evidence|>"
SPECIAL_TOKENS = (USER, ITEM, RATING, FEATURE, EXPLAIN, EVIDENCE)
FIELD_TOKENS = (RATING, FEATURE, EVIDENCE)  # each opens a field of the prompt
QUOTED_WORDS = 40  # longest quotation of a sentence
FEATURE_WORDS = 20  # longest name of a feature
LONGEST_WORD = 25  # characters of a word, on average: attention over the prompt grows with the square of its length
CutField = Literal["description", "categories", "name", "feature"]


class Quotation(NamedTuple):
    """A sentence by the user: the name of the item that it is about, and its text."""

    item: str
    text: str


def part_tokens(text: str, tokens: Sequence[str]) -> str:
    """Return a text by a user with a space inside every name of a special token, which would act as the token."""
    for token in tokens:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


@dataclass(frozen=True)
class PromptFields:
    """What the prompt of one pair states; None or empty where a field is withheld or unknown.

    A prompt of special tokens states `level`, `feature` and `evidence` only.

    Args:
        level: rating level in 1..R.
        feature: the aspect that the text speaks of.
        evidence: sentences by others about the item, best first.
        name: name of the item.
        categories: of the item.
        description: of the item.
        history: sentences by the user about other items, best first.
    """

    level: int | None = None
    feature: str | None = None
    evidence: tuple[str, ...] = ()
    name: str | None = None
    categories: tuple[str, ...] = ()
    description: str | None = None
    history: tuple[Quotation, ...] = ()

    @property
    def quotations(self) -> int:
        """Number of sentences quoted: evidence, then history."""
        return len(self.evidence) + len(self.history)

    def with_quotations(self, count: int) -> PromptFields:
        """Return the fields with the first `count` quotations only."""
        of_user = self.history[: max(count - len(self.evidence), 0)]
        return replace(self, evidence=self.evidence[:count], history=of_user)

    def cut(self, field: CutField, size: int) -> PromptFields:
        """Return the fields with one of them cut to `size` words (categories: entries); 0 leaves the field out."""
        if field == "categories":
            return replace(self, categories=self.categories[:size])
        text: str | None = first_words(getattr(self, field) or "", size) if size else None
        if field == "description":
            return replace(self, description=text)
        return replace(self, name=text) if field == "name" else replace(self, feature=text)

    def protected(self, forbidden: Sequence[str]) -> PromptFields:
        """Return the fields with single blanks, in which nothing reads like one of the `forbidden` tokens."""

        def clean(text: str) -> str:
            return part_tokens(" ".join(text.replace("<|", "< |").split()), forbidden)

        def quote(text: str) -> str:
            return first_words(clean(text), QUOTED_WORDS)

        return replace(
            self,
            feature=clean(self.feature or "") or None,
            evidence=tuple(map(quote, self.evidence)),
            name=clean(self.name or "") or None,
            categories=tuple(clean(category) for category in self.categories),
            description=clean(self.description or "") or None,
            history=tuple(Quotation(clean(item), quote(text)) for item, text in self.history),
        )


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
    feature_field = f"{token_name(FEATURE)} {_shorten(feature, FEATURE_WORDS)}" if feature else ""
    evidence_fields = "".join(f"{token_name(EVIDENCE)}{_quote(sentence)}" for sentence in evidence)
    return f"{token_name(USER)}{token_name(ITEM)}{rating_field}{feature_field}{evidence_fields}{token_name(EXPLAIN)}"


def _quote(sentence: str) -> str:
    """Shorten a review sentence and break up anything in it that reads like a special token."""
    return _shorten(sentence.replace("<|", "< |"), QUOTED_WORDS)


def _shorten(text: str, words: int) -> str:
    return first_words(text[: words * LONGEST_WORD], words)
