"""PEPLER, continuous prompts (Li et al. 2023, "Personalized Prompt Learning for Explainable Recommendation").

    prompt      two learned embeddings, the user's and the item's, followed by any causal LM
    sequential  tuning: first the prompt with the LM frozen, then both
    rating      predicted from the same embeddings, a regulariser of weight 0.01

Shape suffixes: B batch, P prompt, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, LMState
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss

RATING_WEIGHT = 0.01
# A pretrained LM needs a small learning rate; one trained on this corpus alone tolerates a larger one.
SCRATCH_LEARNING_RATE, BASE_LEARNING_RATE = 1e-3, 1e-4
# The scale of the word embeddings in the prompt: unit variance from scratch, about 0.02 in the usual base model.
PROMPT_STD, BASE_PROMPT_STD = 0.3, 0.02


class PEPLER(TextModel):
    """A causal LM with a learned prompt for each user and item."""

    def __init__(self, data: TextData, width: int):
        super().__init__()
        self.language = LanguageModel(data, width)
        hidden, self.mean_level = self.language.hidden, data.mean_level
        self.user = nn.Embedding(data.users + 1, hidden)
        self.item = nn.Embedding(data.items + 1, hidden)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=PROMPT_STD if self.language.from_scratch else BASE_PROMPT_STD)
        self.rating = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.Sigmoid(), nn.Dropout(data.config.dropout), nn.Linear(hidden, 1)
        )
        learning_rate = SCRATCH_LEARNING_RATE if self.language.from_scratch else BASE_LEARNING_RATE
        self.phases = (
            *((LM_PRETRAINING,) if self.language.from_scratch else ()),
            Phase("prompt", learning_rate=2e-3, prefixes=("user.", "item.", "rating.")),
            Phase("prompt and language", learning_rate=learning_rate),
        )

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return text and rating losses; in the pretraining phase of the LM, the loss of texts without a prompt."""
        if phase == LM_PRETRAINING.name:
            return self.language.pretraining_losses(batch)
        text, tokens = text_loss(self.language.text_logits(self._prompt(batch), batch), batch.text_BT)
        error = nn.functional.mse_loss(self.rate(batch.user_B, batch.item_B), batch.rating_B)
        return Losses(text, RATING_WEIGHT * error, tokens)

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Return the predicted level of each pair, [B]."""
        pair = torch.cat([self.user(user_B), self.item(item_B)], dim=-1)
        return self.mean_level + self.rating(pair).squeeze(-1)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, LMState]:
        """Process the prompt and the start token."""
        return self.language.prefill(self._prompt(batch))

    def decode_step(self, token_B: Tensor, state: LMState) -> tuple[Tensor, LMState]:
        """Process one token with the LM."""
        return self.language.decode_step(token_B, state)

    def _prompt(self, batch: TextBatch) -> Tensor:
        return torch.stack([self.user(batch.user_B), self.item(batch.item_B)], dim=1)
