"""Matrix factorisation with biases (Koren et al. 2009), from cornac; a grid search on the validation reviews."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product

import numpy as np

from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError

FACTORS, DECAYS, RATES = (2, 5, 20), (0.02, 0.05, 0.1), (0.003, 0.01)
EPOCHS = 200  # cornac stops early once its loss has converged


class MatrixFactorisation:
    """Matrix factorisation as a `RatingModel`; an unknown user or item contributes 0."""

    def __init__(self, users: int, items: int, seed: int = 0):
        self.users, self.items, self.seed = users, items, seed

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return (self.users + self.items) * (self.factors + 1)

    def fit(self, train: InteractionArrays, valid: InteractionArrays) -> MatrixFactorisation:
        """Train with every setting of the grid and keep the one with the lowest validation error."""
        best = np.inf
        for factors, decay, rate in product(FACTORS, DECAYS, RATES):
            factorisation = self._train(train, factors, decay, rate)
            error = float(np.mean((_levels(*factorisation, valid.user_id, valid.item_id) - valid.level) ** 2))
            if error < best:
                best, self.factors, self.factorisation = error, factors, factorisation
        return self

    def predict(self, user_id: np.ndarray, item_id: np.ndarray) -> np.ndarray:
        """Return the predicted level of each pair, [N]."""
        return _levels(*self.factorisation, user_id, item_id)

    def _train(
        self, train: InteractionArrays, factors: int, decay: float, rate: float
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the mean level, and bias and factors by user id and by item id; row 0, the unknown, is 0."""
        require_cornac()
        from cornac.data import Dataset
        from cornac.models import MF

        known = (train.user_id > 0) & (train.item_id > 0)
        if not known.any():
            user_UV, item_IV = (np.zeros((ids + 1, factors + 1)) for ids in (self.users, self.items))
            return float(train.level.mean()), user_UV, item_IV
        columns = (column[known].tolist() for column in (train.user_id, train.item_id, train.level))
        data = Dataset.build(list(zip(*columns, strict=True)))
        model = MF(
            k=factors, max_iter=EPOCHS, learning_rate=rate, lambda_reg=decay, early_stop=True, num_threads=1,
            seed=self.seed,
        ).fit(data)  # fmt: skip
        user_UV, item_IV = np.zeros((self.users + 1, factors + 1)), np.zeros((self.items + 1, factors + 1))
        user_UV[list(data.uid_map)] = np.column_stack([model.u_biases, model.u_factors])[list(data.uid_map.values())]
        item_IV[list(data.iid_map)] = np.column_stack([model.i_biases, model.i_factors])[list(data.iid_map.values())]
        return float(model.global_mean), user_UV, item_IV


def _levels(mean: float, user_UV: np.ndarray, item_IV: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    user_NV, item_NV = user_UV[user], item_IV[item]
    return mean + user_NV[:, 0] + item_NV[:, 0] + (user_NV[:, 1:] * item_NV[:, 1:]).sum(1)


def require_cornac() -> None:
    """Raise `ConfigError` if cornac is not installed."""
    if find_spec("cornac") is None:
        raise ConfigError("matrix factorisation needs cornac: pip install 'gavamoe[baselines]'")
