"""LightGCN (He et al. 2020): user and item embeddings propagated over the graph of reviews.

    propagation   E^(k+1) = A E^(k), A = D^-1/2 (graph) D^-1/2; no weights, no activation
    embeddings    the mean of E^(0) .. E^(K)
    objective     `ranking`: Bayesian personalised ranking against items the user has not reviewed, as published
                  `rating`: squared error of mean + biases + dot product

Ids start at 1. Row 0, the unknown user or item, has no edge, so its embedding comes from E^(0) alone.
Shape suffixes: N users and items (users first), M training reviews, D embedding, B batch.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.checkpoint import TrainingProgress, copy_tensors
from gavamoe.data.dataset import InteractionArrays
from gavamoe.parameters import num_parameters

Objective = Literal["ranking", "rating"]
DECAY, LEARNING_RATE, BATCH_SIZE, PATIENCE = 1e-4, 5e-3, 2048, 5
REDRAWS = 50  # of a negative item that the user has reviewed; a user of all items keeps the last draw


class LightGCN(nn.Module):
    """Embeddings of users (0..users) and items (0..items) over a fixed graph.

    Args:
        users, items: number of known users and items.
        user_M, item_M: the edges, one for each training review.
        width: embedding size D.
        layers: number of propagation steps K.
    """

    adjacency_NN: Tensor
    reviewed_M: Tensor

    def __init__(
        self, users: int, items: int, user_M: np.ndarray, item_M: np.ndarray, width: int = 64, layers: int = 3
    ):
        super().__init__()
        self.rows, self.layers = (users + 1, items + 1), layers
        self.vectors = nn.Embedding(sum(self.rows), width)
        nn.init.normal_(self.vectors.weight, std=0.1)
        self.bias = nn.Embedding(sum(self.rows), 1)
        nn.init.zeros_(self.bias.weight)
        self.mean_level = nn.Parameter(torch.zeros(()), requires_grad=False)
        self.register_buffer("adjacency_NN", normalised_adjacency(*self.rows, user_M, item_M), persistent=False)
        reviewed_M = torch.from_numpy(np.unique(self._pair(user_M, item_M)))
        self.register_buffer("reviewed_M", reviewed_M, persistent=False)  # pairs encoded as sorted integers

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Return the final embeddings of users [users + 1, D] and items [items + 1, D]."""
        layer_ND = total_ND = self.vectors.weight
        for _ in range(self.layers):
            layer_ND = torch.sparse.mm(self.adjacency_NN, layer_ND)
            total_ND = total_ND + layer_ND
        users_ND, items_ND = (total_ND / (self.layers + 1)).split(self.rows)
        return users_ND, items_ND

    def rating(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Return the predicted level of each pair, [B]."""
        users_ND, items_ND = self.propagate()
        biases_B = (self.bias(user_B) + self.bias(item_B + self.rows[0])).squeeze(-1)
        return self.mean_level + biases_B + (users_ND[user_B] * items_ND[item_B]).sum(-1)

    def unreviewed(self, user_B: Tensor) -> Tensor:
        """Draw one item for each user among those that the user has not reviewed, [B]."""
        other_B = torch.randint(min(1, self.rows[1] - 1), self.rows[1], user_B.shape)
        for _ in range(REDRAWS):
            reviewed_B = torch.isin(self._pair(user_B, other_B), self.reviewed_M)
            if not reviewed_B.any():
                break
            other_B = torch.where(reviewed_B, torch.randint_like(other_B, 1, self.rows[1]), other_B)
        return other_B

    def _pair(self, user: Any, item: Any) -> Any:
        """Encode each pair as one integer; arrays or tensors."""
        return user * self.rows[1] + item

    def loss(
        self, objective: Objective, user_B: Tensor, item_B: Tensor, level_B: Tensor, other_B: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch plus the L2 penalty of the embeddings in it.

        Args:
            objective: ranking or rating.
            user_B, item_B, level_B: ids and levels of reviews.
            other_B: negative items for ranking; drawn at random when None.
        """
        rows = [user_B, item_B + self.rows[0]]
        if objective == "rating":
            loss = nn.functional.mse_loss(self.rating(user_B, item_B), level_B)
        else:
            users_ND, items_ND = self.propagate()
            other_B = self.unreviewed(user_B) if other_B is None else other_B
            rows.append(other_B + self.rows[0])
            margin_B = (users_ND[user_B] * (items_ND[item_B] - items_ND[other_B])).sum(-1)
            loss = nn.functional.softplus(-margin_B).mean()
        in_batch = torch.cat(rows)
        norm = self.vectors(in_batch).square().sum() + (
            self.bias(in_batch).square().sum() if objective == "rating" else 0
        )
        return loss + DECAY * norm / len(user_B)


def normalised_adjacency(users: int, items: int, user_M: np.ndarray, item_M: np.ndarray) -> Tensor:
    """Return D^-1/2 A D^-1/2 of the graph between users (rows 0..users-1) and items (after them), sparse [N, N].

    A repeated pair is one edge. A pair with an unknown user or item (id 0) is no edge.
    """
    edges = np.unique(np.stack([user_M, item_M + users], axis=1)[(user_M > 0) & (item_M > 0)], axis=0)
    rows = torch.from_numpy(np.concatenate([edges, edges[:, ::-1]]).T.copy())
    degree_N = torch.bincount(rows[0], minlength=users + items).clamp_min(1).float()
    values = (degree_N[rows[0]] * degree_N[rows[1]]).rsqrt()
    size = (users + items, users + items)
    return torch.sparse_coo_tensor(rows, values, size, check_invariants=True).coalesce()


def fit(
    train: InteractionArrays,
    valid: InteractionArrays,
    users: int,
    items: int,
    objective: Objective,
    seed: int,
    width: int = 64,
    epochs: int = 100,
) -> LightGCN:
    """Train with early stopping on the validation loss and return the model with the best weights.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LightGCN(users, items, train.user_id, train.item_id, width)
        model.mean_level.fill_(float(np.mean(train.level)))
        train_columns, valid_columns = (_tensors(arrays) for arrays in (train, valid))
        # Drawn once: with new negative items every epoch, the validation loss would fluctuate by chance.
        negatives = model.unreviewed(valid_columns[0]) if objective == "ranking" else None
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
        progress, best_weights = TrainingProgress(phase=objective), copy_tensors(model.state_dict().items())
        while not progress.phase_is_over(epochs, PATIENCE):
            model.train()
            for chosen in torch.randperm(len(train)).split(BATCH_SIZE):
                optimizer.zero_grad(set_to_none=True)
                model.loss(objective, *(column[chosen] for column in train_columns)).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(model.loss(objective, *valid_columns, negatives))
            progress.epoch += 1
            if progress.improves(loss):
                best_weights = copy_tensors(model.state_dict().items())
        model.load_state_dict(best_weights)
    return model.eval()


class LightGCNRatings:
    """LightGCN as a `RatingModel`, trained with the rating objective."""

    def __init__(self, users: int, items: int, seed: int = 0):
        self.users, self.items, self.seed = users, items, seed

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return num_parameters(self.model_)

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> LightGCNRatings:
        """Train on levels 1..R of pairs of ids."""
        self.model_ = fit(train, valid, self.users, self.items, "rating", self.seed)
        return self

    @torch.no_grad()
    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the predicted level of each pair, [N]."""
        user, item = (torch.from_numpy(np.asarray(ids, dtype=np.int64)) for ids in (user_id, item_id))
        return self.model_.rating(user, item).numpy()


def _tensors(arrays: InteractionArrays) -> tuple[Tensor, Tensor, Tensor]:
    user, item, level = (torch.from_numpy(column) for column in (arrays.user_id, arrays.item_id, arrays.level))
    return user, item, level.float()
