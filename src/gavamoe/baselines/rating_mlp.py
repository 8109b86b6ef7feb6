"""A feed-forward network over user and item vectors (the MLP of He et al. 2017): rates, without prior or clusters.

Shape suffixes: B batch, R rating levels, V vector.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.data.dataset import InteractionArrays

WIDTHS, DROPOUTS, DECAYS = (8, 32), (0.2, 0.5), (1e-4, 1e-2)  # all tried, the best on the validation reviews kept
LEARNING_RATE, BATCH, EPOCHS, PATIENCE = 1e-3, 256, 40, 4
FORGET = 0.05  # how often an id becomes unknown in training, which trains id 0


class RatingMLP(nn.Module):
    """Ids to logits over rating levels."""

    def __init__(self, users: int, items: int, levels: int, width: int, dropout: float):
        super().__init__()
        self.user, self.item = nn.Embedding(users + 1, width), nn.Embedding(items + 1, width)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, levels)
        )

    def forward(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Logits, [B, R]."""
        return self.layers(torch.cat([self.user(user_B), self.item(item_B)], dim=-1))


class MLPRatings:
    """`fit` on arrays of ids and levels, `predict` in levels 1..R."""

    def __init__(self, users: int, items: int, seed: int = 0):
        self.users, self.items, self.seed = users, items, seed

    @property
    def parameters(self) -> int:
        """How many were learned."""
        return sum(parameter.numel() for parameter in self.model_.parameters())

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> MLPRatings:
        """Learn with every setting of the grid and keep what predicts the validation levels best."""
        best = np.inf
        self.levels = int(max(train.level.max(), valid.level.max()))
        with torch.random.fork_rng():
            for width, dropout, decay in product(WIDTHS, DROPOUTS, DECAYS):
                torch.manual_seed(self.seed)
                model = RatingMLP(self.users, self.items, self.levels, width, dropout)
                error = self._train(model, train, valid, decay)
                if error < best:
                    best, self.model_ = error, model
        return self

    @torch.no_grad()
    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Expected level of each pair, [N]."""
        user, item = (torch.from_numpy(ids.astype(np.int64)) for ids in (user_id, item_id))
        return _expected(self.model_.eval()(user, item)).numpy()

    @staticmethod
    def _train(model: RatingMLP, train: InteractionArrays, valid: InteractionArrays, decay: float) -> float:
        """Learn until the validation error stops falling; the best weights stay. Returns their squared error."""
        columns, checked = (
            [torch.from_numpy(c.astype(np.int64)) for c in (arrays.user_id, arrays.item_id, arrays.level)]
            for arrays in (train, valid)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=decay)
        best, stale, weights = np.inf, 0, model.state_dict()
        for _ in range(EPOCHS):
            model.train()
            for index_B in torch.randperm(len(train)).split(BATCH):
                user_B, item_B, level_B = (column[index_B] for column in columns)
                user_B, item_B = (id_B * (torch.rand(id_B.shape) >= FORGET) for id_B in (user_B, item_B))
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(user_B, item_B), level_B - 1).backward()
                optimizer.step()
            with torch.no_grad():
                error = float((_expected(model.eval()(*checked[:2])) - checked[2]).square().mean())
            stale = 0 if error < best else stale + 1
            if error < best:
                best, weights = error, {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if stale == PATIENCE:
                break
        model.load_state_dict(weights)
        return best


def _expected(logits_BR: Tensor) -> Tensor:
    return logits_BR.softmax(-1) @ torch.arange(1, logits_BR.shape[-1] + 1, dtype=torch.float32)
