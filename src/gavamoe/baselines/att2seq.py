"""Att2Seq (Dong et al. 2017, "Learning to Generate Product Reviews from Attributes").

    attributes   user, item, rating: a vector each; tanh(W a + b) of all is the first state of every LSTM layer
    decoder      two stacked LSTMs over the words
    attention    at each step over the three attribute vectors; its context and the LSTM's output give the word

The rating is an attribute like the others; where it is withheld a vector of its own stands for that.
Shape suffixes: B batch, T text, H hidden, A attributes, L layers, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shifted, text_loss

LAYERS, START_STD = 2, 0.3
State = tuple[tuple[Tensor, Tensor], Tensor]  # the LSTM's, and the attribute vectors


class Att2Seq(TextModel):
    """Words from attributes; predicts no rating."""

    phases = (Phase("text", learning_rate=5e-3),)

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, dropout = data.own, data.config.dropout
        self.start, self.pad = vocabulary.start, vocabulary.pad
        attribute = max(width // 2, 1)
        self.user = nn.Embedding(data.users + 1, attribute)
        self.item = nn.Embedding(data.items + 1, attribute)
        self.level = nn.Embedding(data.levels + 1, attribute)
        self.encoder = nn.Linear(3 * attribute, LAYERS * width)
        self.words = nn.Embedding(vocabulary.size, width)
        self.lstm = nn.LSTM(width, width, LAYERS, batch_first=True, dropout=dropout)
        self.score = nn.Linear(width + attribute, 1)
        self.context = nn.Linear(attribute, width, bias=False)
        self.output = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(vocabulary.size))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        for table in (self.user, self.item, self.level):
            nn.init.normal_(table.weight, std=START_STD)

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Cross-entropy of the texts alone."""
        attributes_BAH = self._attributes(batch)
        words_BTH = self._embed(shifted(batch.text_BT, self.start, self.pad))
        hidden_BTH, _ = self.lstm(self.dropout(words_BTH), self._first_state(attributes_BAH))
        text, tokens = text_loss(self._logits(hidden_BTH, attributes_BAH), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def begin(self, batch: Batch) -> tuple[Tensor, State]:
        """The start token through the decoder."""
        attributes_BAH = self._attributes(batch)
        start_B = torch.full_like(batch.user_B, self.start)
        return self.step(start_B, (self._first_state(attributes_BAH), attributes_BAH))

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One word further."""
        lstm_state, attributes_BAH = state
        hidden_B1H, lstm_state = self.lstm(self._embed(token_B)[:, None], lstm_state)
        return self._logits(hidden_B1H, attributes_BAH)[:, 0], (lstm_state, attributes_BAH)

    def attention(self, hidden_BTH: Tensor, attributes_BAH: Tensor) -> Tensor:
        """Weight of each attribute at each step, [B, T, A]."""
        steps, attributes = hidden_BTH.shape[1], attributes_BAH.shape[1]
        pairs = torch.cat(
            [
                hidden_BTH[:, :, None].expand(-1, -1, attributes, -1),
                attributes_BAH[:, None].expand(-1, steps, -1, -1),
            ],
            dim=-1,
        )
        return torch.tanh(self.score(pairs).squeeze(-1)).softmax(-1)

    def _attributes(self, batch: Batch) -> Tensor:
        vectors = [self.user(batch.user_B), self.item(batch.item_B), self.level(batch.level_B)]
        return self.dropout(torch.stack(vectors, dim=1))

    def _embed(self, ids: Tensor) -> Tensor:
        # The same vectors give logits, where they must be short; a recurrent network wants its input at unit variance.
        return self.words(ids) * self.words.embedding_dim**0.5

    def _first_state(self, attributes_BAH: Tensor) -> tuple[Tensor, Tensor]:
        encoded = torch.tanh(self.encoder(attributes_BAH.flatten(1)))
        hidden_LBH = torch.stack(encoded.chunk(LAYERS, dim=-1))
        return hidden_LBH, torch.zeros_like(hidden_LBH)

    def _logits(self, hidden_BTH: Tensor, attributes_BAH: Tensor) -> Tensor:
        context_BTH = self.context(self.attention(hidden_BTH, attributes_BAH) @ attributes_BAH)
        attended_BTH = torch.tanh(context_BTH + self.output(hidden_BTH))
        return nn.functional.linear(self.dropout(attended_BTH), self.words.weight, self.bias)
