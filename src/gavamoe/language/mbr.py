"""Minimum Bayes risk decoding (Eikema & Aziz 2020): of several sampled drafts, keep the one most like the others.

The likeliest text may be unlike all others, and a single sample may be an outlier. The draft that agrees most with the
other drafts is the one whose content the model is surest of. Review sentences by the user and about the item are
references as well: sampling at a low temperature writes too little, and they show usual lengths and words.

Most words that two texts share are function words, so the plain agreement prefers texts without content. With a
`Rarity`, rare words weigh more, and a draft that repeats a content word has a lower score.

Shape suffixes: D drafts, T texts, W different tokens (or bigrams).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from transformers import PreTrainedTokenizerBase

from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import encode_texts
from gavamoe.language.rarity import Rarity

Text = Sequence[int]  # token ids
# (user id, item id, count) -> groups of reference sentences, at most `count` each.
ReferenceSentences = Callable[[int, int, int], Sequence[Sequence[str]]]
ReferenceEncoder = Callable[[int, int], list[list[list[int]]]]  # (user id, item id) -> the groups as token ids
Units = Sequence[Hashable]  # the tokens or bigrams of a text
# Weight of agreement with a group of references, where agreement with the other drafts has weight 1. Review sentences
# differ more from each other than drafts do, so any draft agrees less with them.
REFERENCE_WEIGHT = 3.0
# Agreement with references that are longer than the drafts grows with the draft's length. So a draft is penalised by
# LENGTH_WEIGHT times |log(length / target)|, where the target is TARGET_LENGTH_RATIO times the references' mean length.
# docs/lab-log.md has the measurements.
LENGTH_WEIGHT, TARGET_LENGTH_RATIO = 0.5, 0.6
REFERENCE_CACHE_SIZE = 10_000  # reference sentences kept as token ids
REPETITION_WEIGHT = 3.0  # of the share of a draft's tokens that repeat a content word


def mbr_select(drafts: Sequence[Text], *references: Sequence[Text], rarity: Rarity | None = None) -> int:
    """Return the index of the draft with the highest agreement (the first one of equals).

    The agreement of two texts is the F1 of their tokens plus the F1 of their bigrams. A draft's score is its mean
    agreement with the other drafts, plus REFERENCE_WEIGHT times its mean agreement with each group of references, minus
    the length penalty where there are references.

    Args:
        drafts: D drafts as token ids.
        references: groups of texts as token ids; each group counts alike, whatever its size, and empty ones not at all.
        rarity: weighs tokens and bigrams by their rarity, and lowers the score by REPETITION_WEIGHT times the share of
            repeated content words; None weighs all alike.
    """
    if len(drafts) == 1:
        return 0
    agreement_DD = _agreement(drafts, drafts, rarity)
    score_D = (agreement_DD.sum(1) - agreement_DD.diagonal()) / (len(drafts) - 1)
    groups = [texts for texts in references if texts]
    for texts in groups:
        score_D = score_D + REFERENCE_WEIGHT * _agreement(drafts, texts, rarity).mean(1)
    if groups:
        score_D = score_D - LENGTH_WEIGHT * _log_length_error(drafts, groups)
    if rarity is not None:
        score_D = score_D - REPETITION_WEIGHT * np.array([rarity.repeated_content(draft) for draft in drafts])
    return int(score_D.argmax())


def reference_encoder(
    tokenizer: PreTrainedTokenizerBase, decoding: DecodingConfig, references: ReferenceSentences | None
) -> ReferenceEncoder:
    """Return a function from ids of user and item to their groups of reference sentences as token ids.

    Args:
        tokenizer: encodes the sentences.
        decoding: how many sentences each group has, and how long a text may be. A single draft needs none.
        references: looks the sentences up; None for no group.
    """
    count = decoding.mbr_references or 0
    if references is None or not count or decoding.num_drafts == 1:
        return lambda user_id, item_id: []
    encode = lru_cache(REFERENCE_CACHE_SIZE)(
        lambda text: encode_texts(tokenizer, [text], decoding.max_new_tokens)[0][:-1]
    )
    return lambda user_id, item_id: [[encode(text) for text in texts] for texts in references(user_id, item_id, count)]


def likeness(one: Text, other: Text) -> float:
    """Return the mean of the F1 of the tokens and of the bigrams of two texts, from 0 to 1."""
    return float(_agreement([one], [other], None)[0, 0]) / 2


def select_draft(
    drafts: Sequence[list[int]], end: int, *references: Sequence[Text], rarity: Rarity | None = None
) -> tuple[list[int], bool]:
    """Return the draft to keep, cut before its end token, and whether it has one.

    A draft without an end token was cut off; it is kept only if no draft has one.

    Args:
        drafts: drafts as token ids; what follows an end token means nothing.
        end: id of the end token.
        references: groups of texts that the draft should agree with (see `mbr_select`).
        rarity: of tokens and bigrams (see `mbr_select`).
    """
    cut = [(ids[: ids.index(end)], True) if end in ids else (ids, False) for ids in drafts]
    eligible = [draft for draft in cut if draft[1]] or cut
    return eligible[mbr_select([ids for ids, _ in eligible], *references, rarity=rarity)]


def _log_length_error(drafts: Sequence[Text], groups: Sequence[Sequence[Text]]) -> np.ndarray:
    """Return |log(length / target length)| of each draft, [D]."""
    target = TARGET_LENGTH_RATIO * np.mean([np.mean([len(text) for text in texts]) for texts in groups])
    length_D = np.array([len(draft) for draft in drafts])
    return np.abs(np.log(np.maximum(length_D, 1) / max(target, 1)))


def _agreement(drafts: Sequence[Text], texts: Sequence[Text], rarity: Rarity | None) -> np.ndarray:
    """Return F1 of tokens plus F1 of bigrams, [D, T]."""
    draft_bigrams, text_bigrams = ([list(pairwise(text)) for text in group] for group in (drafts, texts))
    return _f1(drafts, texts, rarity) + _f1(draft_bigrams, text_bigrams, rarity)


def _f1(drafts: Sequence[Units], texts: Sequence[Units], rarity: Rarity | None) -> np.ndarray:
    """Return the F1 of each draft's and text's units counted with multiplicity, weighed by rarity if given, [D, T]."""
    index: dict[Hashable, int] = {}
    unit_ids = [[index.setdefault(unit, len(index)) for unit in text] for text in (*drafts, *texts)]
    counts = np.array([np.bincount(ids, minlength=len(index)) if ids else np.zeros(len(index)) for ids in unit_ids])
    if rarity is not None:
        counts = counts * np.array([rarity(unit) for unit in index])
    draft_DW, text_TW = counts[: len(drafts)], counts[len(drafts) :]
    common_DT = np.minimum(draft_DW[:, None], text_TW[None]).sum(-1)
    return 2 * common_DT / np.maximum(draft_DW.sum(1)[:, None] + text_TW.sum(1)[None], 1e-9)
