"""Reviews as training sequences: prompt, explanation, end token; only the last two are scored.

A sequence is made anew each time it is asked for, because training hides facts at random (rating, feature, ids) so that
one model serves every condition and cold pairs. What is hidden depends on (seed, epoch, row) alone: neither batch,
order, process count nor an interruption changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.language.encoding import IGNORED, PromptEncoder, encode_texts

# Row and feature (None where withheld) to the sentences that the prompt quotes.
EvidenceOf = Callable[[int, str | None], Sequence[str]]
# Row to so many sentences that people wrote: the user of other items, others of the item.
ReferencesOf = Callable[[int, int], Sequence[Sequence[str]]]


def no_references(row: int, count: int) -> Sequence[Sequence[str]]:
    """Nobody's texts."""
    return ()


def no_evidence(row: int, feature: str | None) -> Sequence[str]:
    """None, as for every run that was trained without."""
    return ()


@dataclass
class PairContext:
    """What stage 2 knows of N pairs: ids [N] (0 unknown), cluster [N]; level and feature [N], None where withheld.

    evidence: which sentences the prompt of a row quotes; a function, because they are chosen by the feature as well.
    people: what a draft of the row's text is compared with.
    """

    user_id: np.ndarray
    item_id: np.ndarray
    cluster: np.ndarray
    level: Sequence[int | None]
    feature: Sequence[str | None]
    evidence: EvidenceOf = no_evidence
    references: ReferencesOf = no_references

    def __len__(self) -> int:
        return len(self.user_id)


class ExplanationDataset(Dataset[dict[str, Any]]):
    """Training and validation sequences of stage 2; with `hide`, facts are hidden at random as the config says."""

    def __init__(
        self,
        pairs: PairContext,
        texts: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        config: ExplainerConfig,
        seed: int,
        hide: bool,
    ):
        self.pairs, self.config, self.seed, self.hide = pairs, config, seed, hide
        self.prompt = PromptEncoder(tokenizer)
        self.texts = encode_texts(tokenizer, texts, config.max_tokens)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence up to what is the same for all: to group like with like."""
        if self.pairs.evidence is no_evidence:
            return [len(text) for text in self.texts]
        quoted = (self.pairs.evidence(row, self.pairs.feature[row]) for row in range(len(self)))
        return [len(self.prompt(None, None, said)) + len(text) for said, text in zip(quoted, self.texts, strict=True)]

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader: each epoch hides other facts."""
        self.epoch = epoch

    def __getitem__(self, row: int) -> dict[str, Any]:
        pairs = self.pairs
        user, item = int(pairs.user_id[row]), int(pairs.item_id[row])
        level, feature = pairs.level[row], pairs.feature[row]
        if self.hide:
            draw = np.random.default_rng((self.seed, self.epoch, row)).random(4)
            user = 0 if draw[0] < self.config.id_dropout else user
            item = 0 if draw[1] < self.config.id_dropout else item
            level = None if draw[2] < self.config.rating_dropout else level
            feature = None if draw[3] < self.config.feature_dropout else feature
        # A hidden item has no evidence, as a cold one has none. A hidden user's own words stay excluded.
        evidence = pairs.evidence(row, feature) if item else ()
        prompt = self.prompt(level, feature, evidence)
        text = self.texts[row]
        return {
            "input_ids": prompt + text,
            "labels": [IGNORED] * len(prompt) + text,
            "user_ids": user,
            "item_ids": item,
            "cluster_ids": int(pairs.cluster[row]),
        }


@dataclass
class Collator:
    """Sequences to a batch, padded on the right: input_ids, attention_mask, labels [B, S]; the three ids [B]."""

    pad_id: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Pad to the longest."""
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {
            "input_ids": _padded([row["input_ids"] for row in rows], longest, self.pad_id),
            "attention_mask": _padded([[1] * len(row["input_ids"]) for row in rows], longest, 0),
            "labels": _padded([row["labels"] for row in rows], longest, IGNORED),
        }
        for name in ("user_ids", "item_ids", "cluster_ids"):
            batch[name] = torch.tensor([row[name] for row in rows])
        return batch


def _padded(rows: list[list[int]], length: int, value: int) -> torch.Tensor:
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])
