"""Reviews as training sequences: prompt, explanation, end token; the loss is taken on the last two.

A sequence is built each time it is read, because training hides fields of the prompt at random (rating, feature, user,
item, and in prompts in words parts of the context). One model thereby serves every condition and cold pairs. What is
hidden depends on (seed, epoch, row) only, so batches, order, number of processes and interruptions do not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch.utils.data import Dataset

from gavamoe.conditions import CONTEXTS, Context
from gavamoe.config import ExplainerConfig
from gavamoe.explainer.context import ContextBuilder, PairContext
from gavamoe.explainer.facts import PairFacts
from gavamoe.language.encoding import IGNORED, PromptEncoder, encode_texts
from gavamoe.language.prompt import PromptFields


class ExplanationDataset(Dataset[dict[str, Any]]):
    """Training or validation sequences of stage 2.

    Args:
        pairs: what the prompts state if nothing is hidden.
        texts: the explanation of each pair.
        prompt: encodes the prompts; its tokenizer is the model's.
        config: how often fields are hidden, and the longest explanation.
        seed: of the hiding.
        hide: whether to hide fields at random (training) or never (validation).
        facts: where prompts look up what else they state, such as quotations; None if that is nothing. The lookup is
            per sequence, because quotations depend on the feature, which may be hidden.
    """

    def __init__(
        self,
        pairs: PairContext,
        texts: Sequence[str],
        prompt: PromptEncoder,
        config: ExplainerConfig,
        seed: int,
        hide: bool,
        facts: PairFacts | None = None,
    ):
        self.pairs, self.config, self.seed, self.hide, self.facts = pairs, config, seed, hide, facts
        self.prompt, self.texts = prompt, encode_texts(prompt.tokenizer, texts, config.max_tokens)
        self.epoch = 0

    @classmethod
    def from_reviews(
        cls,
        reviews: pl.DataFrame,
        context: ContextBuilder,
        prompt: PromptEncoder,
        config: ExplainerConfig,
        seed: int,
        hide: bool,
    ) -> ExplanationDataset:
        """Return the sequences of prepared reviews with text, whose prompts state the true rating and feature."""
        pairs, predicted = context.from_reviews(reviews)
        facts = context.facts(pairs, predicted, reviews["item"].to_list())
        return cls(pairs, reviews["text"].to_list(), prompt, config, seed, hide, facts)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each sequence, up to what is nearly the same for all; used to batch similar lengths."""
        if self.facts is None:
            return [len(text) for text in self.texts]
        if self.prompt.template is not None:  # the facts in words differ in length too
            return [len(self[row]["input_ids"]) for row in range(len(self))]
        quoted = (self.facts.fields(row, None, self.pairs.feature[row]).evidence for row in range(len(self)))
        prompts = (self.prompt(PromptFields(evidence=sentences)) for sentences in quoted)
        return [len(prompt) + len(text) for prompt, text in zip(prompts, self.texts, strict=True)]

    def set_epoch(self, epoch: int) -> None:
        """Choose which fields are hidden; the data loader calls this before each epoch."""
        self.epoch = epoch

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return input_ids and labels (lists of equal length), user_ids, item_ids and cluster_ids of one sequence."""
        user, item = int(self.pairs.user_id[row]), int(self.pairs.item_id[row])
        level, feature = self.pairs.level[row], self.pairs.feature[row]
        context: Context = "history"
        if self.hide:
            rng = np.random.default_rng((self.seed, self.epoch, row))
            draw = rng.random(4)
            user = 0 if draw[0] < self.config.id_dropout else user
            item = 0 if draw[1] < self.config.id_dropout else item
            level = None if draw[2] < self.config.rating_dropout else level
            feature = None if draw[3] < self.config.feature_dropout else feature
            context = self._draw_context(rng)
        if self.facts is None:
            fields = PromptFields(level, feature)
        else:
            fields = self.facts.fields(row, level, feature, context, user_known=bool(user), item_known=bool(item))
        prompt = self.prompt(fields)
        text = self.texts[row]
        return {
            "input_ids": prompt + text,
            "labels": [IGNORED] * len(prompt) + text,
            "user_ids": user,
            "item_ids": item,
            "cluster_ids": int(self.pairs.gate[row]),
        }

    def _draw_context(self, rng: np.random.Generator) -> Context:
        """Draw how much of the context a training prompt states: all of it, or one of the smaller contexts."""
        smaller = CONTEXTS[:-1]
        return smaller[rng.integers(len(smaller))] if rng.random() < self.config.context_dropout else CONTEXTS[-1]


@dataclass
class Collator:
    """Collates sequences into one batch, padded on the right.

    Args:
        pad_id: the padding token.
    """

    pad_id: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return input_ids, attention_mask and labels [B, S]; user_ids, item_ids and cluster_ids [B]."""
        longest = max(len(row["input_ids"]) for row in rows)
        batch = {
            "input_ids": _pad([row["input_ids"] for row in rows], longest, self.pad_id),
            "attention_mask": _pad([[1] * len(row["input_ids"]) for row in rows], longest, 0),
            "labels": _pad([row["labels"] for row in rows], longest, IGNORED),
        }
        for name in ("user_ids", "item_ids", "cluster_ids"):
            batch[name] = torch.tensor([row[name] for row in rows])
        return batch


def _pad(rows: list[list[int]], length: int, value: int) -> torch.Tensor:
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])
