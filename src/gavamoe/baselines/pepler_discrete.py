"""PEPLER, discrete prompts (Li et al. 2023): words in place of the ids, so that any causal LM can read them.

    prompt   the features that training texts name of both user and item, then those of either
    tuning   the whole LM, on prompt and text; no rating

Shape suffixes: B batch, P prompt, H hidden, V vocabulary.
"""

from __future__ import annotations

import polars as pl
from torch import Tensor

from gavamoe.baselines.batches import Batch, padded
from gavamoe.baselines.data import TextData
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, State
from gavamoe.baselines.pepler import BASE_RATE, OWN_RATE
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss

PROMPT_WORDS = 8


class DiscretePEPLER(TextModel):
    """An LM that reads features."""

    def __init__(self, data: TextData, width: int):
        super().__init__()
        self.language = LanguageModel(data, width)
        self.words = {feature: data.of_base.words(feature) for feature in data.dataset.catalog.features}
        counts = data.feature_predictor.counts
        self.user_features, self.item_features = named_features(counts, "user"), named_features(counts, "item")
        tuning = Phase("language after words", OWN_RATE if self.language.own else BASE_RATE)
        self.phases = (*((LM_PRETRAINING,) if self.language.own else ()), tuning)

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Cross-entropy of the texts alone."""
        if phase == LM_PRETRAINING.name:
            return self.language.reading_losses(batch)
        prompt_BPH, mask_BP = self._prompt(batch)
        text, tokens = text_loss(self.language.text_logits(prompt_BPH, batch, mask_BP), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def begin(self, batch: Batch) -> tuple[Tensor, State]:
        """The prompt and the start token."""
        return self.language.begin(*self._prompt(batch))

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further."""
        return self.language.step(token_B, state)

    def prompt_words(self, user: int, item: int) -> list[str]:
        """The features of a pair of ids: of both, then of the item, then of the user; the most named first."""
        of_user, of_item = self.user_features.get(user, []), self.item_features.get(item, [])
        both = [feature for feature in of_item if feature in of_user]
        return list(dict.fromkeys([*both, *of_item, *of_user]))[:PROMPT_WORDS]

    def _prompt(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors of the prompt's tokens [B, P, H], padded on the left, and the mask that says so [B, P]."""
        pairs = zip(batch.user_B.tolist(), batch.item_B.tolist(), strict=True)
        tokens = [[token for word in self.prompt_words(*pair) for token in self.words[word]] for pair in pairs]
        ids_BP = padded(tokens, -1, left=True).to(batch.user_B.device)
        mask_BP = (ids_BP >= 0).long()
        return self.language.embed(ids_BP.clamp_min(0)), mask_BP


def named_features(counts: pl.DataFrame, side: str) -> dict[int, list[str]]:
    """The features that the training texts of each user (or item) name, the most named first."""
    of_side = counts.filter((pl.col("side") == side) & (pl.col("id") > 0))
    ranked = of_side.sort("id", "count", "feature", descending=[False, True, False])
    return dict(ranked.group_by("id", maintain_order=True).agg("feature").iter_rows())
