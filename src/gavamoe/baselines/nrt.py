"""NRT (Li et al. 2017, "Neural Rating Regression with Abstractive Tips Generation").

    rating   [user; item] -> MLP with sigmoid layers -> a number
    text     tanh(W [user; item; rating embedding]) initialises a GRU over the words
    both     share the user and item embeddings; the losses are added

The paper's third task predicts the words of the full review. It is left out: here the explanation is the only text.
Shape suffixes: B batch, T text, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shift_right, text_loss

RATING_WEIGHT, START_STD = 0.1, 0.3


class NRT(TextModel):
    """A rating regressor and a text decoder with shared user and item embeddings."""

    phases = (Phase("text and rating", learning_rate=2e-3),)

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, dropout = data.corpus_vocabulary, data.config.dropout
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

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the cross-entropy of the texts and the weighted squared error of the ratings."""
        words_BTH = self._embed(shift_right(batch.text_BT, self.start, self.pad))
        hidden_BTH, _ = self.gru(self.dropout(words_BTH), self._first_state(batch))
        text, tokens = text_loss(self._logits(hidden_BTH), batch.text_BT)
        error = nn.functional.mse_loss(self.rate(batch.user_B, batch.item_B), batch.rating_B)
        return Losses(text, RATING_WEIGHT * error, tokens)

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Return the predicted level of each pair, [B]."""
        pair = torch.cat([self.user(user_B), self.item(item_B)], dim=-1)
        return self.mean_level + self.rating(pair).squeeze(-1)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Initialise the GRU from the pair and process the start token."""
        return self.decode_step(torch.full_like(batch.user_B, self.start), self._first_state(batch))

    def decode_step(self, token_B: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Process one token with the GRU."""
        hidden_B1H, state = self.gru(self._embed(token_B)[:, None], state)
        return self._logits(hidden_B1H)[:, 0], state

    def _embed(self, ids: Tensor) -> Tensor:
        # Embeddings are tied to the output layer and therefore small; scaled, the GRU's input has unit variance.
        return self.words(ids) * self.words.embedding_dim**0.5

    def _first_state(self, batch: TextBatch) -> Tensor:
        vectors = [self.user(batch.user_B), self.item(batch.item_B), self.level(batch.level_B)]
        return torch.tanh(self.encoder(self.dropout(torch.cat(vectors, dim=-1))))[None]

    def _logits(self, hidden_BTH: Tensor) -> Tensor:
        return nn.functional.linear(self.dropout(torch.tanh(self.output(hidden_BTH))), self.words.weight, self.bias)
