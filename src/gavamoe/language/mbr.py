"""Of several drafts of a text, the one that agrees most with the others and with what people wrote.

Minimum Bayes risk decoding (Eikema & Aziz 2020): a likely text may be unlike all others, and a single draw may be an
odd one; what most drafts say in much the same words is what the model holds to be so. Texts that the user wrote and
texts about the item count as well: sharpened sampling says too little, and they say how much is said and in what words.

Shape suffixes: D drafts, T texts, W different tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Text = Sequence[int]
REFERENCE_WEIGHT = (
    3.0  # what people's texts count against the other drafts: they are less alike, so agree less with any draft
)
# Likeness to texts longer than the drafts grows with a draft's length. So a draft loses LENGTH for each factor of e by
# which its own is off BRIEF of people's (docs/lab-log.md).
LENGTH_WEIGHT, TARGET_LENGTH_RATIO = 0.5, 0.6


def mbr_select(drafts: Sequence[Text], *references: Sequence[Text]) -> int:
    """Which of the drafts (token ids) shares most with the others and with each group of people's texts.

    Two texts share F1 of tokens plus F1 of pairs of neighbours. Beside people's texts, length counts too.
    """
    if len(drafts) == 1:
        return 0
    among_DD = _shared(drafts, drafts)
    agreement_D = (among_DD.sum(1) - among_DD.diagonal()) / (len(drafts) - 1)
    groups = [texts for texts in references if texts]
    for texts in groups:
        agreement_D = agreement_D + REFERENCE_WEIGHT * _shared(drafts, texts).mean(1)
    if groups:
        agreement_D = agreement_D - LENGTH_WEIGHT * _off_length(drafts, groups)
    return int(agreement_D.argmax())


def _off_length(drafts: Sequence[Text], groups: Sequence[Sequence[Text]]) -> np.ndarray:
    """By how many factors of e each draft is longer or shorter than BRIEF of what people write, [D]."""
    wished = TARGET_LENGTH_RATIO * np.mean([np.mean([len(text) for text in texts]) for texts in groups])
    length_D = np.array([len(draft) for draft in drafts])
    return np.abs(np.log(np.maximum(length_D, 1) / max(wished, 1)))


def _shared(drafts: Sequence[Text], texts: Sequence[Text]) -> np.ndarray:
    neighbours = [[list(pairwise(text)) for text in group] for group in (drafts, texts)]
    return _f1(drafts, texts) + _f1(*neighbours)


def _f1(drafts: Sequence[Sequence[object]], texts: Sequence[Sequence[object]]) -> np.ndarray:
    """F1 of the things they are made of, as often as they occur, [D, T]."""
    places: dict[object, int] = {}
    columns = [[places.setdefault(thing, len(places)) for thing in text] for text in (*drafts, *texts)]
    counts = np.array([np.bincount(text, minlength=len(places)) if text else np.zeros(len(places)) for text in columns])
    one_DW, other_TW = counts[: len(drafts)], counts[len(drafts) :]
    common_DT = np.minimum(one_DW[:, None], other_TW[None]).sum(-1)
    return 2 * common_DT / np.maximum(one_DW.sum(1)[:, None] + other_TW.sum(1)[None], 1)


def select_draft(drafts: Sequence[list[int]], end: int, *references: Sequence[Sequence[int]]) -> tuple[list[int], bool]:
    """The draft to keep, without its end token and what follows, and whether it ended; one that did not is the last.

    people: groups of people's texts, to which the draft should be alike too.
    """
    cut = [(ids[: ids.index(end)], True) if end in ids else (ids, False) for ids in drafts]
    kept = [draft for draft in cut if draft[1]] or cut
    return kept[mbr_select([ids for ids, _ in kept], *references)]
