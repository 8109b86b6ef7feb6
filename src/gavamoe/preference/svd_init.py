"""Where the model starts: as a biased truncated SVD of the ratings.

A decoder that multiplies two small random vectors starts at a saddle: the product moves neither until one of them has
moved, and in a world of many tastes early stopping comes first. The singular vectors of the sparse residual matrix
hold the same directions, and take a few passes over the data. Vectors, encoder and decoder are set so that the model
predicts what the SVD would; training goes on from there.

Shape suffixes: N reviews, U users + 1, I items + 1, F factors, R rating levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from sklearn.linear_model import RidgeCV
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from gavamoe.preference.batches import Batch
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.networks import SideEncoder

DAMPING = 10.0  # reviews at which half of what an id's reviews say is believed
ROUNDS = 5  # of the alternating bias fit
RIDGES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)  # how much descriptions are believed is decided by leaving items out
HELD_SHARE = 0.1  # of the reviews decide how far each factor is trusted


@dataclass
class Factors:
    """Ratings as mean + bias_U + bias_I + sum_f user_UF item_IF + a remainder of `variance`; reviews of each id."""

    bias_U: np.ndarray
    bias_I: np.ndarray
    user_UF: np.ndarray
    item_IF: np.ndarray
    count_U: np.ndarray
    count_I: np.ndarray
    variance: float


def init_from_svd(model: PreferenceModel, reviews: Batch, seed: int) -> None:
    """Set an untrained `model` to predict from the biased SVD of training reviews."""
    count = min(model.decoder.left.in_features, model.decoder.right.in_features, model.decoder.left.out_features) - 1
    count = min(count, model.encoder.user.offset.embedding_dim - 1, model.users, model.items)
    factors = factorise(reviews, model.users + 1, model.items + 1, count, seed)
    _set_vectors(model.encoder.user, factors.user_UF, factors.bias_U, factors.count_U)
    _set_vectors(model.encoder.item, factors.item_IF, factors.bias_I, factors.count_I)
    _set_decoder(model, factors, torch.bincount(reviews.level_B, minlength=model.levels))


def factorise(reviews: Batch, users: int, items: int, count: int, seed: int) -> Factors:
    """`count` factors of damped residuals, each scaled by how far reviews it was not made from bear it out."""
    user, item, level = (column.numpy() for column in (reviews.user_B, reviews.item_B, reviews.level_B))
    count_U, count_I = np.bincount(user, minlength=users), np.bincount(item, minlength=items)
    bias_U, bias_I = _biases(user, item, level - level.mean(), count_U, count_I)
    residual = (level - level.mean() - bias_U[user] - bias_I[item]).astype(np.float32)
    held_N = np.random.default_rng(seed).random(len(user)) < HELD_SHARE
    learn_N = ~held_N
    left_UF, value_F, right_FI = randomized_svd(
        csr_matrix((residual[learn_N], (user[learn_N], item[learn_N])), shape=(users, items)),
        n_components=max(count, 1),
        random_state=seed,
    )
    user_UF = _believed(left_UF[:, :count] * value_F[:count], count_U)
    item_IF = _believed(right_FI[:count].T * value_F[:count], count_I)
    # On the reviews it was made from every factor seems to explain something; those held out tell which do.
    product_NF = user_UF[user[held_N]] * item_IF[item[held_N]]
    weight_F = nnls(product_NF.astype(np.float64), residual[held_N].astype(np.float64))[0] if count else np.zeros(0)
    scale_F = np.sqrt(weight_F)
    return Factors(bias_U, bias_I, user_UF * scale_F, item_IF * scale_F, count_U, count_I, float(residual.var()))


def _biases(
    user: np.ndarray, item: np.ndarray, centred: np.ndarray, count_U: np.ndarray, count_I: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What users and items add to the mean, damped, in turn."""
    bias_U, bias_I = np.zeros(len(count_U)), np.zeros(len(count_I))
    for _ in range(ROUNDS):
        bias_U = np.bincount(user, centred - bias_I[item], len(count_U)) / (count_U + DAMPING)
        bias_I = np.bincount(item, centred - bias_U[user], len(count_I)) / (count_I + DAMPING)
    return bias_U, bias_I


def _believed(sum_NF: np.ndarray, count_N: np.ndarray) -> np.ndarray:
    """Damped means of unit spread over the ids."""
    mean_NF = sum_NF / (count_N[:, None] + DAMPING)
    return mean_NF / np.maximum(mean_NF.std(0), 1e-9)


@torch.no_grad()
def _set_vectors(tower: SideEncoder, factor_NF: np.ndarray, bias_N: np.ndarray, count_N: np.ndarray) -> None:
    start_NV = np.concatenate([bias_N[:, None], factor_NF], axis=1)[1:]
    width = start_NV.shape[1]
    if tower.features:
        # What a description tells need not be said by the id; for an id without reviews it is all there is.
        described_NF = tower.description_NF[1:].cpu().numpy()
        told = RidgeCV(RIDGES, fit_intercept=False).fit(described_NF, start_NV, sample_weight=count_N[1:])
        tower.read.weight[:width] = torch.from_numpy(told.coef_.reshape(width, -1)).float()
        start_NV = start_NV - described_NF @ told.coef_.reshape(width, -1).T
    tower.offset.weight[1:, :width] = torch.from_numpy(start_NV).float()


@torch.no_grad()
def _set_decoder(model: PreferenceModel, factors: Factors, count_R: Tensor) -> None:
    """Logits whose expected level moves with the factors: the slope of a softmax over levels is their variance."""
    decoder, size = model.decoder, factors.user_UF.shape[1]
    level_R = torch.arange(model.levels, dtype=torch.float32)
    share_R = (count_R + 1) / (count_R + 1).sum()
    slope_R = (level_R - (share_R * level_R).sum()) / max(factors.variance, 1e-3)
    decoder.linear.weight.mul_(0.1)
    decoder.linear.bias.copy_(share_R.log())
    for bias_dimension in (0, decoder.user_latent):
        decoder.linear.weight[:, bias_dimension] = slope_R
    for side in (decoder.left, decoder.right):
        side.weight[:size] = 0.0
        side.bias[:size] = 0.0
        side.weight[range(size), range(1, size + 1)] = 1.0
    decoder.product.weight.mul_(0.1)
    decoder.product.weight[:, :size] = slope_R[:, None]
