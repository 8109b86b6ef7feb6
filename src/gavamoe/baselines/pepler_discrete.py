"""PEPLER, discrete prompts (Li et al. 2023): words instead of ids, which any causal LM can read.

    prompt   features that the training texts of both user and item name, then those of the item, then of the user
    tuning   the whole LM, on prompt and text; no rating

Shape suffixes: B batch, P prompt, H hidden, V vocabulary.
"""

from __future__ import annotations

import polars as pl
from torch import Tensor

from gavamoe.baselines.data import TextBatch, TextData, pad_rows
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, LMState
from gavamoe.baselines.pepler import BASE_LEARNING_RATE, SCRATCH_LEARNING_RATE
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss

PROMPT_WORDS = 8


class DiscretePEPLER(TextModel):
    """A causal LM whose prompt lists features of the user and the item; it predicts no rating."""

    def __init__(self, data: TextData, width: int):
        super().__init__()
        self.language = LanguageModel(data, width)
        self.words = {feature: data.base_vocabulary.encode_words(feature) for feature in data.catalog.features}
        counts = data.feature_predictor.counts
        self.user_features, self.item_features = ranked_features(counts, "user"), ranked_features(counts, "item")
        learning_rate = SCRATCH_LEARNING_RATE if self.language.from_scratch else BASE_LEARNING_RATE
        tuning = Phase("language after words", learning_rate)
        self.phases = (*((LM_PRETRAINING,) if self.language.from_scratch else ()), tuning)

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the cross-entropy of the texts; there is no other task."""
        if phase == LM_PRETRAINING.name:
            return self.language.pretraining_losses(batch)
        prompt_BPH, mask_BP = self._prompt(batch)
        text, tokens = text_loss(self.language.text_logits(prompt_BPH, batch, mask_BP), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, LMState]:
        """Process the prompt and the start token."""
        return self.language.prefill(*self._prompt(batch))

    def decode_step(self, token_B: Tensor, state: LMState) -> tuple[Tensor, LMState]:
        """Process one token with the LM."""
        return self.language.decode_step(token_B, state)

    def prompt_words(self, user: int, item: int) -> list[str]:
        """Return the features of both user and item, then the item's, then the user's; most frequent first."""
        user_features, item_features = self.user_features.get(user, []), self.item_features.get(item, [])
        both = [feature for feature in item_features if feature in user_features]
        return list(dict.fromkeys([*both, *item_features, *user_features]))[:PROMPT_WORDS]

    def _prompt(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Return the prompt's embeddings [B, P, H], padded on the left, and its attention mask [B, P]."""
        pairs = zip(batch.user_B.tolist(), batch.item_B.tolist(), strict=True)
        tokens = [[token for word in self.prompt_words(*pair) for token in self.words[word]] for pair in pairs]
        ids_BP = pad_rows(tokens, -1, left=True).to(batch.user_B.device)
        mask_BP = (ids_BP >= 0).long()
        return self.language.embed(ids_BP.clamp_min(0)), mask_BP


def ranked_features(counts: pl.DataFrame, side: str) -> dict[int, list[str]]:
    """Return the features that the training texts of each user (or item) name, the most frequent first."""
    known = counts.filter((pl.col("side") == side) & (pl.col("id") > 0))
    ranked = known.sort("id", "count", "feature", descending=[False, True, False])
    return dict(ranked.group_by("id", maintain_order=True).agg("feature").iter_rows())
