"""Fluency: the loss of a text under a language model that did not write it, in nats per word.

fluency = -log p(text | start) summed over the texts / words with a letter or a digit

Lower is more predictable, which is not always better: repetitive and generic texts fall below people's. So the value is
read beside its bounds: people's texts (the ceiling) and the same texts with their words in random order (the floor).

Normalized texts are joined as people write them before they are measured ("it ' s fun ." becomes "it's fun."). Texts
are measured in the case and length in which they are scored, predictions and references alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gavamoe.evaluation.metrics.metric import Metric, ratio_of
from gavamoe.evaluation.outputs import Outputs, Words
from gavamoe.words import hash_text, join_words

NAME = "fluency"
MAX_ROWS = 200  # rows that are measured; others do not count
BATCH = 16
MAX_TOKENS = 256  # longer texts are cut
_BEFORE, _AFTER = re.compile(r" (?=[.,;:!?)\]}%])"), re.compile(r"(?<=[(\[{$]) ")
_INSIDE = re.compile(r"(?<=\w) (['’-]) (?=\w)")


class FluencyModel:
    """Measures texts under a causal language model.

    Args:
        lm: a causal LM of transformers.
        tokenizer: its tokenizer; every text starts with its beginning-of-text token, or with its end token.
        name: of the model, for the conditions of a result.
    """

    def __init__(self, lm: Any, tokenizer: Any, name: str) -> None:
        self.lm, self.tokenizer, self.name = lm.eval(), tokenizer, name
        start = tokenizer.bos_token_id
        self._start = int(tokenizer.eos_token_id if start is None else start)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric with this model."""
        source = f"loss per word, in nats, under {self.name}"
        return (Metric(NAME, False, source, self.statistics, ratio_of(0, 1)),)

    def statistics(self, outputs: Outputs) -> np.ndarray:
        """Return the loss in nats and the number of words of each prediction, [n, 2]; 0 for rows not measured.

        The MAX_ROWS rows are chosen by their references, so they are the same for every system.
        """
        statistics = np.zeros((len(outputs), 2))
        rows = _chosen(outputs)
        statistics[rows] = self._measure([outputs.predictions[row] for row in rows])
        return statistics

    def bounds(self, outputs: Outputs) -> tuple[float | None, float | None]:
        """Return floor and ceiling: the references with their words shuffled, and the references."""
        shuffled = [_shuffled(words) for words in outputs.references]
        values = []
        for texts in (shuffled, outputs.references):
            nats, words = self.statistics(replace(outputs, predictions=texts)).sum(0)
            values.append(float(nats / words) if words else None)
        return values[0], values[1]

    def _measure(self, texts: Sequence[Words]) -> np.ndarray:
        """Return nats and words of each text, [n, 2]."""
        if not texts:
            return np.zeros((0, 2))
        texts, encoded = self._cut(texts)
        words = [sum(any(letter.isalnum() for letter in word) for word in text) for text in texts]
        nats = np.zeros(len(texts))
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]))
        for start in range(0, len(order), BATCH):
            rows = [row for row in order[start : start + BATCH] if encoded[row] and words[row]]
            if rows:
                nats[rows] = self._losses([encoded[row] for row in rows])
        return np.stack([nats, np.array(words, dtype=float)], axis=1)

    def _cut(self, texts: Sequence[Words]) -> tuple[list[Words], list[list[int]]]:
        """Return the first words of each text that have at most MAX_TOKENS tokens, and their token ids."""
        cut, encoded = [list(words) for words in texts], [[0] * (MAX_TOKENS + 1) for _ in texts]
        while rows := [row for row, ids in enumerate(encoded) if len(ids) > MAX_TOKENS]:
            joined = [natural_text(cut[row]) for row in rows]
            found = self.tokenizer(joined, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            for row, ids in zip(rows, found, strict=True):
                encoded[row] = ids if len(cut[row]) > 1 else ids[:MAX_TOKENS]
                if len(encoded[row]) > MAX_TOKENS:  # so the share below is less than all words
                    cut[row] = cut[row][: max(1, len(cut[row]) * MAX_TOKENS // len(ids))]
        return cut, encoded

    def _losses(self, encoded: list[list[int]]) -> np.ndarray:
        """Return the loss of each sequence of token ids, in nats, [B]."""
        import torch  # it takes a second to load, and `gavamoe score` reads this module for the metric's name

        longest = max(map(len, encoded))
        ids_BS = torch.full((len(encoded), longest + 1), self._start)
        scored_BT = torch.zeros(len(encoded), longest)
        for row, ids in enumerate(encoded):
            ids_BS[row, 1 : len(ids) + 1] = torch.tensor(ids)
            scored_BT[row, : len(ids)] = 1
        mask_BS = torch.nn.functional.pad(scored_BT, (1, 0), value=1).long()
        with torch.inference_mode():
            logits_BTV = self.lm(input_ids=ids_BS, attention_mask=mask_BS, use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BS[:, 1:].flatten(), reduction="none")
        summed: np.ndarray = (losses.view_as(scored_BT) * scored_BT).sum(1).double().numpy()
        return summed


def natural_text(words: Words) -> str:
    """Join words as people write them: no blank before a comma, or around an apostrophe or hyphen within a word."""
    return _AFTER.sub("", _BEFORE.sub("", _INSIDE.sub(r"\1", join_words(words))))


def _chosen(outputs: Outputs) -> list[int]:
    """Return up to MAX_ROWS rows with a reference, chosen by the references' contents."""
    known = [True] * len(outputs) if outputs.has_reference is None else outputs.has_reference
    texts = [" ".join(words) for words in outputs.references]
    rows = [row for row in range(len(outputs)) if known[row]]
    return sorted(sorted(rows, key=lambda row: (hash_text(texts[row]), texts[row]))[:MAX_ROWS])


def _shuffled(words: Words) -> Words:
    """Return the words in an order that is random but the same for the same text."""
    order = np.random.default_rng(hash_text(" ".join(words))).permutation(len(words))
    return [words[place] for place in order.tolist()]
