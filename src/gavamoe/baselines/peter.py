"""PETER and PETER+ (Li et al. 2021, "Personalized Transformer for Explainable Recommendation").

    sequence   user, item, [feature,] start, words
    mask       causal, except that user and item attend to each other: the item's output depends on both
    context    the item's output predicts all words of the text at once, which ties the ids to words
    rating     the user's output, through a network with one hidden layer
    loss       text + context + 0.1 rating

PETER+ inserts the feature's tokens between item and text.
Shape suffixes: B batch, T text, F feature, P positions, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gavamoe.baselines.data import TextBatch, TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shift_right, text_loss
from gavamoe.baselines.transformer import Cache, Transformer
from gavamoe.language.encoding import IGNORED

CONTEXT_WEIGHT, RATING_WEIGHT = 1.0, 0.1
PLACE_STD = 0.3
USER, ITEM = 0, 1  # positions in the sequence


@dataclass
class PETERState:
    """The decoder's state: cached keys and values, and which positions may be attended to, [B, P]."""

    cache: Cache
    visible_BP: Tensor


class PETER(TextModel):
    """A Transformer whose input sequence begins with the user and the item."""

    phases = (Phase("text, context, rating", learning_rate=4e-3),)

    def __init__(self, data: TextData, width: int, with_feature: bool = False):
        super().__init__()
        vocabulary, config = data.corpus_vocabulary, data.config
        self.start, self.pad, self.mean_level = vocabulary.start, vocabulary.pad, data.mean_level
        self.features = vocabulary.feature_width if with_feature else 0
        self.user = nn.Embedding(data.users + 1, width)
        self.item = nn.Embedding(data.items + 1, width)
        self.words = nn.Embedding(vocabulary.size, width)
        self.places = nn.Embedding(2 + self.features + config.max_tokens + 2, width)
        self.transformer = Transformer(width, config.layers, config.heads, config.dropout)
        self.rating = nn.Sequential(nn.Linear(width, width), nn.Sigmoid(), nn.Linear(width, 1))
        self.bias = nn.Parameter(torch.zeros(vocabulary.size))
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.user, self.item, self.words):
            nn.init.normal_(table.weight, std=width**-0.5)
        nn.init.normal_(self.places.weight, std=PLACE_STD)
        self.scale = width**0.5  # the input has unit variance; the layers' initial outputs are small beside it

    @property
    def prefix(self) -> int:
        """Number of positions before the start token."""
        return 2 + self.features

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the text loss and the weighted context and rating losses."""
        inputs_BT = shift_right(batch.text_BT, self.start, self.pad)
        hidden_BPH, _ = self._forward(batch, inputs_BT)
        text, tokens = text_loss(self._logits(hidden_BPH[:, self.prefix :]), batch.text_BT)
        error = nn.functional.mse_loss(self._rating_from(hidden_BPH), batch.rating_B)
        return Losses(
            text, CONTEXT_WEIGHT * self._context_loss(hidden_BPH, batch.text_BT) + RATING_WEIGHT * error, tokens
        )

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Return the predicted level of each pair, [B]; no text enters, which the mask would hide anyway."""
        pair_B2H = self.scale * torch.stack([self.user(user_B), self.item(item_B)], dim=1)
        positions_2H = self.places.weight[:2]
        both = torch.ones(len(user_B), 2, 2, dtype=torch.bool, device=user_B.device)
        hidden_B2H, _ = self.transformer(self.dropout(pair_B2H + positions_2H), both)
        return self._rating_from(hidden_B2H)

    def prefill(self, batch: TextBatch) -> tuple[Tensor, PETERState]:
        """Process user, item, feature and the start token."""
        start_B1 = torch.full_like(batch.user_B, self.start)[:, None]
        hidden_BPH, cache = self._forward(batch, start_B1)
        state = PETERState(cache, self._visible(batch, 1))
        return self._logits(hidden_BPH[:, -1]), state

    def decode_step(self, token_B: Tensor, state: PETERState) -> tuple[Tensor, PETERState]:
        """Process one token with the Transformer."""
        position = state.visible_BP.shape[1]
        visible_BP = nn.functional.pad(state.visible_BP, (0, 1), value=True)
        x_B1H = self.scale * self.words(token_B)[:, None] + self.places.weight[position]
        hidden_B1H, cache = self.transformer(x_B1H, visible_BP[:, None], state.cache)
        return self._logits(hidden_B1H[:, 0]), PETERState(cache, visible_BP)

    def mask(self, visible_BP: Tensor) -> Tensor:
        """Return PETER's attention mask, [B, P, P]: True where a position (row) may attend to another (column)."""
        length = visible_BP.shape[1]
        causal_PP = torch.ones(length, length, dtype=torch.bool, device=visible_BP.device).tril()
        causal_PP[USER, ITEM] = True
        # Every position attends to itself: an empty row would give NaN, and outputs at padding are not used.
        itself_PP = torch.eye(length, dtype=torch.bool, device=visible_BP.device)
        return (causal_PP & visible_BP[:, None]) | itself_PP

    def _forward(self, batch: TextBatch, inputs_BT: Tensor) -> tuple[Tensor, Cache]:
        parts = [self.user(batch.user_B)[:, None], self.item(batch.item_B)[:, None], self.words(inputs_BT)]
        if self.features:
            parts.insert(2, self.words(batch.feature_BF))
        x_BPH = self.scale * torch.cat(parts, dim=1)
        x_BPH = self.dropout(x_BPH + self.places.weight[: x_BPH.shape[1]])
        return self.transformer(x_BPH, self.mask(self._visible(batch, inputs_BT.shape[1])))

    def _visible(self, batch: TextBatch, text: int) -> Tensor:
        """Return which positions are no padding, [B, P]; the causal mask already hides padding after the text."""
        visible_BP = torch.ones(len(batch), self.prefix + text, dtype=torch.bool, device=batch.user_B.device)
        if self.features:
            visible_BP[:, 2 : self.prefix] = batch.feature_BF != self.pad
        return visible_BP

    def _context_loss(self, hidden_BPH: Tensor, text_BT: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the text's tokens under one distribution, the item position's."""
        log_p_BV = self._logits(hidden_BPH[:, ITEM]).log_softmax(-1)
        scored_BT = text_BT != IGNORED
        nll_BT = -log_p_BV.gather(1, text_BT.masked_fill(~scored_BT, 0))
        return (nll_BT * scored_BT).sum() / scored_BT.sum()

    def _rating_from(self, hidden_BPH: Tensor) -> Tensor:
        return self.mean_level + self.rating(hidden_BPH[:, USER]).squeeze(-1)

    def _logits(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.words.weight, self.bias)
