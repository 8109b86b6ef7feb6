"""PETER and PETER+ (Li et al. 2021, "Personalized Transformer for Explainable Recommendation").

    sequence   user, item, [feature,] start, words
    mask       causal over the words, but user and item see each other; so the item's place knows both
    context    from the item's place, all words of the text at once: what ties the ids to words
    rating     from the user's place, through a network with one hidden layer
    loss       text + context + 0.1 rating

PETER+ puts the feature's tokens between item and text.
Shape suffixes: B batch, T text, F feature, P positions, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gavamoe.baselines.batches import Batch
from gavamoe.baselines.data import TextData
from gavamoe.baselines.text_model import Losses, Phase, TextModel, shifted, text_loss
from gavamoe.baselines.transformer import Cache, Transformer
from gavamoe.language.encoding import IGNORED

CONTEXT_WEIGHT, RATING_WEIGHT = 1.0, 0.1
PLACE_STD = 0.3
USER, ITEM = 0, 1  # places in the sequence


@dataclass
class State:
    """What has been read: keys and values, and which of the places may be looked at [B, P]."""

    cache: Cache
    visible_BP: Tensor


class PETER(TextModel):
    """A Transformer that reads the ids as words."""

    phases = (Phase("text, context, rating", learning_rate=4e-3),)

    def __init__(self, data: TextData, width: int, with_feature: bool = False):
        super().__init__()
        vocabulary, config = data.own, data.config
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
        self.scale = width**0.5  # what is read has unit variance: beside it, the layers' first outputs are small

    @property
    def prefix(self) -> int:
        """Places before the start token."""
        return 2 + self.features

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Text, and the two other tasks, weighted."""
        inputs_BT = shifted(batch.text_BT, self.start, self.pad)
        hidden_BPH, _ = self._read(batch, inputs_BT)
        text, tokens = text_loss(self._logits(hidden_BPH[:, self.prefix :]), batch.text_BT)
        error = nn.functional.mse_loss(self._rating_from(hidden_BPH), batch.rating_B)
        return Losses(
            text, CONTEXT_WEIGHT * self._context_loss(hidden_BPH, batch.text_BT) + RATING_WEIGHT * error, tokens
        )

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Predicted level [B]; user and item see each other and nothing else."""
        pair_B2H = self.scale * torch.stack([self.user(user_B), self.item(item_B)], dim=1)
        places_2H = self.places.weight[:2]
        both = torch.ones(len(user_B), 2, 2, dtype=torch.bool, device=user_B.device)
        hidden_B2H, _ = self.transformer(self.dropout(pair_B2H + places_2H), both)
        return self._rating_from(hidden_B2H)

    def begin(self, batch: Batch) -> tuple[Tensor, State]:
        """Everything before the text, and the start token."""
        start_B1 = torch.full_like(batch.user_B, self.start)[:, None]
        hidden_BPH, cache = self._read(batch, start_B1)
        state = State(cache, self._visible(batch, 1))
        return self._logits(hidden_BPH[:, -1]), state

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        """One token further."""
        place = state.visible_BP.shape[1]
        visible_BP = nn.functional.pad(state.visible_BP, (0, 1), value=True)
        x_B1H = self.scale * self.words(token_B)[:, None] + self.places.weight[place]
        hidden_B1H, cache = self.transformer(x_B1H, visible_BP[:, None], state.cache)
        return self._logits(hidden_B1H[:, 0]), State(cache, visible_BP)

    def mask(self, visible_BP: Tensor) -> Tensor:
        """PETER's mask, [B, P, P]: True where a place (row) may look at another (column)."""
        places = visible_BP.shape[1]
        causal_PP = torch.ones(places, places, dtype=torch.bool, device=visible_BP.device).tril()
        causal_PP[USER, ITEM] = True
        # A place always sees itself: a row that sees nothing would be NaN, and what padding sees is not used.
        itself_PP = torch.eye(places, dtype=torch.bool, device=visible_BP.device)
        return (causal_PP & visible_BP[:, None]) | itself_PP

    def _read(self, batch: Batch, inputs_BT: Tensor) -> tuple[Tensor, Cache]:
        parts = [self.user(batch.user_B)[:, None], self.item(batch.item_B)[:, None], self.words(inputs_BT)]
        if self.features:
            parts.insert(2, self.words(batch.feature_BF))
        x_BPH = self.scale * torch.cat(parts, dim=1)
        x_BPH = self.dropout(x_BPH + self.places.weight[: x_BPH.shape[1]])
        return self.transformer(x_BPH, self.mask(self._visible(batch, inputs_BT.shape[1])))

    def _visible(self, batch: Batch, text: int) -> Tensor:
        """Which places hold something, [B, P]; padding after the text is hidden by causality already."""
        visible_BP = torch.ones(len(batch), self.prefix + text, dtype=torch.bool, device=batch.user_B.device)
        if self.features:
            visible_BP[:, 2 : self.prefix] = batch.feature_BF != self.pad
        return visible_BP

    def _context_loss(self, hidden_BPH: Tensor, text_BT: Tensor) -> Tensor:
        """Mean negative log-likelihood of the text's tokens under one distribution, the item place's."""
        log_p_BV = self._logits(hidden_BPH[:, ITEM]).log_softmax(-1)
        scored_BT = text_BT != IGNORED
        nll_BT = -log_p_BV.gather(1, text_BT.masked_fill(~scored_BT, 0))
        return (nll_BT * scored_BT).sum() / scored_BT.sum()

    def _rating_from(self, hidden_BPH: Tensor) -> Tensor:
        return self.mean_level + self.rating(hidden_BPH[:, USER]).squeeze(-1)

    def _logits(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.words.weight, self.bias)
