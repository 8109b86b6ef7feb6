"""Att2Seq (Dong et al. 2017, "Learning to Generate Product Reviews from Attributes").

    attributes   embeddings of user, item and rating; tanh(W a + b) of all three initialises every LSTM layer
    decoder      two stacked LSTMs over the words
    attention    at each step over the three attribute embeddings; context and LSTM output predict the next word

A withheld rating has an embedding of its own (level 0).
Shape suffixes: B batch, T text, H hidden, A attributes, L layers, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shift_right, text_loss

LAYERS, START_STD = 2, 0.3
DecoderState = tuple[tuple[Tensor, Tensor], Tensor]  # state of the LSTM, and the attribute embeddings


class Att2Seq(TextModel):
    """A text decoder conditioned on user, item and rating; it predicts no rating."""

    phases = (Phase("text", learning_rate=5e-3),)

    def __init__(self, data: TextData, width: int):
        super().__init__()
        vocabulary, dropout = data.corpus_vocabulary, data.config.dropout
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

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the cross-entropy of the texts; there is no other task."""
        attributes_BAH = self._attributes(batch)
        words_BTH = self._embed(shift_right(batch.text_BT, self.start, self.pad))
        hidden_BTH, _ = self.lstm(self.dropout(words_BTH), self._first_state(attributes_BAH))
        text, tokens = text_loss(self._logits(hidden_BTH, attributes_BAH), batch.text_BT)
        return Losses(text, 0.0, tokens)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, DecoderState]:
        """Encode the attributes and process the start token."""
        attributes_BAH = self._attributes(batch)
        start_B = torch.full_like(batch.user_B, self.start)
        return self.decode_step(start_B, (self._first_state(attributes_BAH), attributes_BAH))

    def decode_step(self, token_B: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Process one token with the LSTM."""
        lstm_state, attributes_BAH = state
        hidden_B1H, lstm_state = self.lstm(self._embed(token_B)[:, None], lstm_state)
        return self._logits(hidden_B1H, attributes_BAH)[:, 0], (lstm_state, attributes_BAH)

    def attention(self, hidden_BTH: Tensor, attributes_BAH: Tensor) -> Tensor:
        """Return the attention weight of each attribute at each step, [B, T, A]."""
        steps, attributes = hidden_BTH.shape[1], attributes_BAH.shape[1]
        pairs = torch.cat(
            [
                hidden_BTH[:, :, None].expand(-1, -1, attributes, -1),
                attributes_BAH[:, None].expand(-1, steps, -1, -1),
            ],
            dim=-1,
        )
        return torch.tanh(self.score(pairs).squeeze(-1)).softmax(-1)

    def _attributes(self, batch: TextBatch) -> Tensor:
        vectors = [self.user(batch.user_B), self.item(batch.item_B), self.level(batch.level_B)]
        return self.dropout(torch.stack(vectors, dim=1))

    def _embed(self, ids: Tensor) -> Tensor:
        # Embeddings are tied to the output layer and therefore small; scaled, the LSTM's input has unit variance.
        return self.words(ids) * self.words.embedding_dim**0.5

    def _first_state(self, attributes_BAH: Tensor) -> tuple[Tensor, Tensor]:
        encoded = torch.tanh(self.encoder(attributes_BAH.flatten(1)))
        hidden_LBH = torch.stack(encoded.chunk(LAYERS, dim=-1))
        return hidden_LBH, torch.zeros_like(hidden_LBH)

    def _logits(self, hidden_BTH: Tensor, attributes_BAH: Tensor) -> Tensor:
        context_BTH = self.context(self.attention(hidden_BTH, attributes_BAH) @ attributes_BAH)
        attended_BTH = torch.tanh(context_BTH + self.output(hidden_BTH))
        return nn.functional.linear(self.dropout(attended_BTH), self.words.weight, self.bias)
