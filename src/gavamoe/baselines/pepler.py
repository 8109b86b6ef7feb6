"""PEPLER, continuous prompts (Li et al. 2023, "Personalized Prompt Learning for Explainable Recommendation").

    prompt      two vectors, the user's and the item's, learned; then any causal LM goes on
    sequential  first the prompt alone learns, the LM frozen; then both
    rating      from the same vectors, a regulariser of weight 0.01

Shape suffixes: B batch, P prompt, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.language_model import LM_PRETRAINING, LanguageModel, State
from gavamoe.baselines.text_model import Losses, Phase, TextModel, text_loss

RATING_WEIGHT = 0.01
# A pretrained LM is tuned gently; one that has only read this corpus can take larger steps.
OWN_RATE, BASE_RATE = 1e-3, 1e-4
# As long as the word vectors beside them: of unit variance from scratch, about 0.02 in the usual base model.
PROMPT_STD, BASE_PROMPT_STD = 0.3, 0.02


class PEPLER(TextModel):
    """Continuous prompts."""

    def __init__(self, data: TextData, width: int):
        super().__init__()
        self.language = LanguageModel(data, width)
        hidden, self.mean_level = self.language.hidden, data.mean_level
        self.user = nn.Embedding(data.users + 1, hidden)
        self.item = nn.Embedding(data.items + 1, hidden)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=PROMPT_STD if self.language.own else BASE_PROMPT_STD)
        self.rating = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.Sigmoid(), nn.Dropout(data.config.dropout), nn.Linear(hidden, 1)
        )
        self.phases = (
            *((LM_PRETRAINING,) if self.language.own else ()),
            Phase("prompt", learning_rate=2e-3, prefixes=("user.", "item.", "rating.")),
            Phase("prompt and language", learning_rate=OWN_RATE if self.language.own else BASE_RATE),
        )

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Text, and the rating as a regulariser; while the LM still learns to write, text without a prompt."""
        if phase == LM_PRETRAINING.name:
            return self.language.reading_losses(batch)
        text, tokens = text_loss(self.language.text_logits(self._prompt(batch), batch), batch.text_BT)
        error = nn.functional.mse_loss(self.rate(batch.user_B, batch.item_B), batch.rating_B)
        return Losses(text, RATING_WEIGHT * error, tokens)

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Predicted level, [B]."""
        pair = torch.cat([self.user(user_B), self.item(item_B)], dim=-1)
        return self.mean_level + self.rating(pair).squeeze(-1)

    def begin(self, batch: Batch) -> tuple[Tensor, State]:
        """The prompt and the start token."""
        return self.language.begin(self._prompt(batch))

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further."""
        return self.language.step(token_B, state)

    def _prompt(self, batch: Batch) -> Tensor:
        return torch.stack([self.user(batch.user_B), self.item(batch.item_B)], dim=1)
