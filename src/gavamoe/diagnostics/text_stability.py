"""How much texts change when pairs get other gates, as after another training of stage 1.

Stage 2 stays as it is, and so do the quotations of prompts: only the gates change. Each pair draws its texts from
random numbers of its own, so a pair whose gate stays keeps its text to the letter.

Shape legend: N pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gavamoe.data.dataset import id_arrays
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.language.mbr import likeness
from gavamoe.preference.model import PreferenceModel


@dataclass(frozen=True)
class TextChange:
    """How texts change.

    Args:
        changed: share of the pairs whose text differs.
        likeness: mean likeness of the two texts where they differ, from 0 to 1 (`gavamoe.language.mbr.likeness`); None
            if none differs.
    """

    changed: float
    likeness: float | None


@dataclass(frozen=True)
class _GivenGates(GateAssignment):
    """Gates that are given for each pair of ids."""

    by_pair: tuple[tuple[tuple[int, int], int], ...] = ()

    def assign(
        self, preference: PreferenceModel, user_N: np.ndarray, item_N: np.ndarray, cluster_N: np.ndarray
    ) -> np.ndarray:
        by_pair = dict(self.by_pair)
        return np.array([by_pair[pair] for pair in zip(user_N.tolist(), item_N.tolist(), strict=True)], dtype=np.int64)


class TextStability:
    """Writes texts of some pairs with other gates, and compares them with the run's own.

    Args:
        explainer: the run.
        pairs: reviews of different pairs, with user, item and their ids.
        seed: of decoding.
    """

    def __init__(self, explainer: Explainer, pairs: pl.DataFrame, seed: int):
        self.explainer, self.pairs, self.seed = explainer, pairs, seed
        self.gate_N = explainer.context.from_reviews(pairs)[0].gate
        self.texts = self._write(explainer, pairs, seed)

    def with_gates(self, others: Iterable[np.ndarray]) -> TextChange:
        """Return how the texts change with other gates, [N] each; the mean over all of them."""
        pairs_of_texts: list[tuple[str, str]] = []
        for gate_N in others:
            moved = np.flatnonzero(gate_N != self.gate_N)
            if len(moved):
                view = self._with_gates(gate_N)
                written = self._write(view, self.pairs[moved], self.seed)
                pairs_of_texts += [(self.texts[row], text) for row, text in zip(moved, written, strict=True)]
            kept = np.flatnonzero(gate_N == self.gate_N)
            pairs_of_texts += [(self.texts[row], self.texts[row]) for row in kept]
        return self._change(pairs_of_texts)

    def with_another_draw(self) -> TextChange:
        """Return how the texts change with the same gates and another seed of decoding."""
        other = self._write(self.explainer, self.pairs, self.seed + 1)
        return self._change(list(zip(self.texts, other, strict=True)))

    def _change(self, pairs_of_texts: list[tuple[str, str]]) -> TextChange:
        different = [pair for pair in pairs_of_texts if pair[0] != pair[1]]
        tokens = [self.explainer.tokenizer(list(pair), add_special_tokens=False)["input_ids"] for pair in different]
        like = [likeness(one, other) for one, other in tokens]
        return TextChange(len(different) / max(len(pairs_of_texts), 1), float(np.mean(like)) if like else None)

    def _with_gates(self, gate_N: np.ndarray) -> Explainer:
        ids = zip(*(column.tolist() for column in id_arrays(self.pairs)), strict=True)
        gates = self.explainer.context.gates
        given = _GivenGates(gates.source, gates.count, by_pair=tuple(zip(ids, gate_N.tolist(), strict=True)))
        view = copy.copy(self.explainer)
        view.context = replace(self.explainer.context, gates=given)
        return view

    @staticmethod
    def _write(explainer: Explainer, pairs: pl.DataFrame, seed: int) -> list[str]:
        return [each.text for each in explainer.explain_batch(pairs.select("user", "item"), seed=seed)]
