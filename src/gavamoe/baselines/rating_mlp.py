"""A feed-forward network over user and item embeddings (the MLP of He et al. 2017), without prior or clusters.

Shape suffixes: B batch, R rating levels.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.checkpoint import TrainingProgress, copy_tensors
from gavamoe.data.dataset import InteractionArrays
from gavamoe.parameters import num_parameters

WIDTHS, DROPOUTS, DECAYS = (8, 32), (0.2, 0.5), (1e-4, 1e-2)  # a grid search on the validation reviews
LEARNING_RATE, BATCH_SIZE, EPOCHS, PATIENCE = 1e-3, 256, 40, 4
ID_DROPOUT = 0.05  # how often an id becomes 0 in training, which trains the unknown user and item


class RatingMLP(nn.Module):
    """A network from ids to logits over rating levels."""

    def __init__(self, users: int, items: int, levels: int, width: int, dropout: float):
        super().__init__()
        self.user, self.item = nn.Embedding(users + 1, width), nn.Embedding(items + 1, width)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, levels)
        )

    def forward(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Return the logits of the rating levels, [B, R]."""
        return self.layers(torch.cat([self.user(user_B), self.item(item_B)], dim=-1))


class MLPRatings:
    """The network as a `RatingModel`."""

    def __init__(self, users: int, items: int, seed: int = 0):
        self.users, self.items, self.seed = users, items, seed

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return num_parameters(self.model_)

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> MLPRatings:
        """Train with every setting of the grid and keep the one with the lowest validation error."""
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
        """Return the expected level of each pair, [N]."""
        user, item = (torch.from_numpy(ids.astype(np.int64)) for ids in (user_id, item_id))
        return _expected(self.model_.eval()(user, item)).numpy()

    @staticmethod
    def _train(model: RatingMLP, train: InteractionArrays, valid: InteractionArrays, decay: float) -> float:
        """Train with early stopping, restore the best weights, and return their mean squared validation error."""
        columns, valid_columns = (
            [torch.from_numpy(c.astype(np.int64)) for c in (arrays.user_id, arrays.item_id, arrays.level)]
            for arrays in (train, valid)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=decay)
        progress, best_weights = TrainingProgress(phase="ratings"), copy_tensors(model.state_dict().items())
        while not progress.phase_is_over(EPOCHS, PATIENCE):
            model.train()
            for index_B in torch.randperm(len(train)).split(BATCH_SIZE):
                user_B, item_B, level_B = (column[index_B] for column in columns)
                user_B, item_B = (id_B * (torch.rand(id_B.shape) >= ID_DROPOUT) for id_B in (user_B, item_B))
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(user_B, item_B), level_B - 1).backward()
                optimizer.step()
            with torch.no_grad():
                error = float((_expected(model.eval()(*valid_columns[:2])) - valid_columns[2]).square().mean())
            progress.epoch += 1
            if progress.improves(error):
                best_weights = copy_tensors(model.state_dict().items())
        model.load_state_dict(best_weights)
        return progress.best


def _expected(logits_BR: Tensor) -> Tensor:
    return logits_BR.softmax(-1) @ torch.arange(1, logits_BR.shape[-1] + 1, dtype=torch.float32)
