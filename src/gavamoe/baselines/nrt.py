"""NRT (Li et al. 2017, "Neural Rating Regression with Abstractive Tips Generation").

    rating   [user; item] -> MLP with sigmoid layers -> a number
    text     tanh(W [user; item; rating's vector]) is the first state of a GRU over the words
    both     share the user's and the item's vectors; the losses are added

The paper's third task, the words of the whole review, has nothing to learn from where the text is all there is.
Shape suffixes: B batch, T text, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shifted, text_loss

RATING_WEIGHT, START_STD = 0.1, 0.3


class NRT(TextModel):
    """Rating and text from shared vectors."""

    phases = (Phase("text and rating", learning_rate=2e-3),)

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, dropout = data.own, data.config.dropout
        self.start, self.pad, self.levels, self.mean_level = (
            vocabulary.start,
            vocabulary.pad,
            data.levels,
            data.mean_level,
        )
        side = max(width // 2, 1)
        self.user = nn.Embedding(data.users + 1, side)
        self.item = nn.Embedding(data.items + 1, side)
        self.rating = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * side, width),
            nn.Sigmoid(),
            nn.Linear(width, width),
            nn.Sigmoid(),
            nn.Linear(width, 1),
        )
        self.level = nn.Embedding(data.levels + 1, side)
        self.encoder = nn.Linear(3 * side, width)
        self.words = nn.Embedding(vocabulary.size, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.output = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(vocabulary.size))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        for table in (self.user, self.item, self.level):
            nn.init.normal_(table.weight, std=START_STD)

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Cross-entropy of the texts, and the weighted squared error of the ratings."""
        words_BTH = self._embed(shifted(batch.text_BT, self.start, self.pad))
        hidden_BTH, _ = self.gru(self.dropout(words_BTH), self._first_state(batch))
        text, tokens = text_loss(self._logits(hidden_BTH), batch.text_BT)
        error = nn.functional.mse_loss(self.rate(batch.user_B, batch.item_B), batch.rating_B)
        return Losses(text, RATING_WEIGHT * error, tokens)

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Predicted level, [B]."""
        pair = torch.cat([self.user(user_B), self.item(item_B)], dim=-1)
        return self.mean_level + self.rating(pair).squeeze(-1)

    def begin(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The start token through the decoder."""
        return self.step(torch.full_like(batch.user_B, self.start), self._first_state(batch))

    def step(self, token_B: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One word further."""
        hidden_B1H, state = self.gru(self._embed(token_B)[:, None], state)
        return self._logits(hidden_B1H)[:, 0], state

    def _embed(self, ids: Tensor) -> Tensor:
        # The same vectors give logits, where they must be short; a recurrent network wants its input at unit variance.
        return self.words(ids) * self.words.embedding_dim**0.5

    def _first_state(self, batch: Batch) -> Tensor:
        vectors = [self.user(batch.user_B), self.item(batch.item_B), self.level(batch.level_B)]
        return torch.tanh(self.encoder(self.dropout(torch.cat(vectors, dim=-1))))[None]

    def _logits(self, hidden_BTH: Tensor) -> Tensor:
        return nn.functional.linear(self.dropout(torch.tanh(self.output(hidden_BTH))), self.words.weight, self.bias)
