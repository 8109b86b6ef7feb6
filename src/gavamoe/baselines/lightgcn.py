"""LightGCN (He et al. 2020): user and item vectors smoothed over the graph of who reviewed what, and nothing else.

    propagation   E^(k+1) = A E^(k), A = D^-1/2 (graph) D^-1/2; no weights, no activation
    vectors       the mean of E^(0) .. E^(K)
    objective     `ranking`: Bayesian personalised ranking against items the user has not reviewed, as published
                  `rating`: squared error of mean + biases + dot product

Ids count from 1; row 0, the unknown, has no edge, so its vector comes from its own layer alone.
Shape suffixes: N users and items (users first), D vector, B batch.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gavamoe.data.dataset import InteractionArrays

Objective = Literal["ranking", "rating"]
DECAY, LEARNING_RATE, BATCH, PATIENCE = 1e-4, 5e-3, 2048, 5
REDRAWS = 50  # of an item that the user turns out to have reviewed; who reviewed them all keeps the last


class LightGCN(nn.Module):
    """Vectors of users (0..users) and items (0..items) over a fixed graph.

    user_M, item_M: the edges, a training review each.
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
        self.register_buffer("reviewed_M", reviewed_M, persistent=False)  # pairs as sorted numbers

    def propagate(self) -> tuple[Tensor, Tensor]:
        """The final vectors of users [users + 1, D] and items [items + 1, D]."""
        layer_ND = total_ND = self.vectors.weight
        for _ in range(self.layers):
            layer_ND = torch.sparse.mm(self.adjacency_NN, layer_ND)
            total_ND = total_ND + layer_ND
        users_ND, items_ND = (total_ND / (self.layers + 1)).split(self.rows)
        return users_ND, items_ND

    def rating(self, user_B: Tensor, item_B: Tensor) -> Tensor:
        """Predicted level, [B]."""
        users_ND, items_ND = self.propagate()
        biases_B = (self.bias(user_B) + self.bias(item_B + self.rows[0])).squeeze(-1)
        return self.mean_level + biases_B + (users_ND[user_B] * items_ND[item_B]).sum(-1)

    def unreviewed(self, user_B: Tensor) -> Tensor:
        """An item for each user, drawn at random among those that the user has not reviewed, [B]."""
        other_B = torch.randint(min(1, self.rows[1] - 1), self.rows[1], user_B.shape)
        for _ in range(REDRAWS):
            known_B = torch.isin(self._pair(user_B, other_B), self.reviewed_M)
            if not known_B.any():
                break
            other_B = torch.where(known_B, torch.randint_like(other_B, 1, self.rows[1]), other_B)
        return other_B

    def _pair(self, user: Any, item: Any) -> Any:
        """One number a pair, of arrays or tensors."""
        return user * self.rows[1] + item

    def loss(
        self, objective: Objective, user_B: Tensor, item_B: Tensor, level_B: Tensor, other_B: Tensor | None = None
    ) -> Tensor:
        """Of a batch, with the decay of the vectors that it touches.

        other_B: what ranking compares with; drawn where it is not given.
        """
        own = [user_B, item_B + self.rows[0]]
        if objective == "rating":
            loss = nn.functional.mse_loss(self.rating(user_B, item_B), level_B)
        else:
            users_ND, items_ND = self.propagate()
            other_B = self.unreviewed(user_B) if other_B is None else other_B
            own.append(other_B + self.rows[0])
            margin_B = (users_ND[user_B] * (items_ND[item_B] - items_ND[other_B])).sum(-1)
            loss = nn.functional.softplus(-margin_B).mean()
        touched = torch.cat(own)
        norm = self.vectors(touched).square().sum() + (
            self.bias(touched).square().sum() if objective == "rating" else 0
        )
        return loss + DECAY * norm / len(user_B)


def normalised_adjacency(users: int, items: int, user_M: np.ndarray, item_M: np.ndarray) -> Tensor:
    """D^-1/2 A D^-1/2 of the graph between users (rows 0..users-1) and items (after them), sparse [N, N].

    An edge counts once, however often its pair occurs, and not at all where an end is unknown.
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
    """Train until the validation loss has not fallen for some epochs; the best weights are given back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LightGCN(users, items, train.user_id, train.item_id, width)
        model.mean_level.fill_(float(np.mean(train.level)))
        learned, check = (_tensors(arrays) for arrays in (train, valid))
        # Drawn once: a check on other items every epoch would stop by luck.
        others = model.unreviewed(check[0]) if objective == "ranking" else None
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
        best, best_weights, stale = np.inf, _copy(model), 0
        for _ in range(epochs):
            model.train()
            for chosen in torch.randperm(len(train)).split(BATCH):
                optimizer.zero_grad(set_to_none=True)
                model.loss(objective, *(column[chosen] for column in learned)).backward()
                optimizer.step()
            with torch.no_grad():
                loss = float(model.loss(objective, *check, others))
            stale = 0 if loss < best else stale + 1
            if stale == 0:
                best, best_weights = loss, _copy(model)
            if stale >= PATIENCE:
                break
        model.load_state_dict(best_weights)
    return model.eval()


class LightGCNRatings:
    """LightGCN as a model of ratings: `fit` on arrays of ids and levels, `predict` in levels 1..R."""

    def __init__(self, users: int, items: int, seed: int = 0):
        self.users, self.items, self.seed = users, items, seed

    @property
    def parameters(self) -> int:
        """How many were learned."""
        return sum(parameter.numel() for parameter in self.model_.parameters())

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> LightGCNRatings:
        """Learn ratings."""
        self.model_ = fit(train, valid, self.users, self.items, "rating", self.seed)
        return self

    @torch.no_grad()
    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Expected level of each pair, [N]."""
        user, item = (torch.from_numpy(np.asarray(ids, dtype=np.int64)) for ids in (user_id, item_id))
        return self.model_.rating(user, item).numpy()


def _tensors(arrays: InteractionArrays) -> tuple[Tensor, Tensor, Tensor]:
    user, item, level = (torch.from_numpy(column) for column in (arrays.user_id, arrays.item_id, arrays.level))
    return user, item, level.float()


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
