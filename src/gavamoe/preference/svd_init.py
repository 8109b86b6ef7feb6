"""Initialise the model from a biased truncated SVD of the ratings.

    level = mean + bias_U + bias_I + sum_f user_UF item_IF + residual

A decoder that multiplies two small random vectors starts at a saddle point: neither vector gets a gradient before the
other has moved. With many clusters of taste, early stopping then ends training too soon. The singular vectors of the
sparse residual matrix hold the same directions, and cost a few passes over the data. Embeddings, encoder and decoder
are set so that the untrained model predicts what the SVD predicts; training goes on from there.

Shape suffixes: N reviews, U users + 1, I items + 1, F factors, V bias and factors, R rating levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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

SHRINKAGE = 10.0  # pseudo-count: the mean of n reviews is multiplied by n / (n + SHRINKAGE)
BIAS_ROUNDS = 5  # rounds of the alternating bias fit
RIDGE_PENALTIES = (1.0, 10.0, 100.0, 1000.0, 10_000.0)  # candidates for cross-validation over items
HELD_OUT_SHARE = 0.1  # share of the reviews that set the weight of each factor


@dataclass
class Factors:
    """A biased SVD of the levels.

    Attributes:
        bias_U: what each user adds to the mean level.
        bias_I: what each item adds to the mean level.
        user_UF: factors of the users.
        item_IF: factors of the items.
        count_U: reviews of each user.
        count_I: reviews of each item.
        variance: variance of the residuals of mean and biases.
    """

    bias_U: np.ndarray
    bias_I: np.ndarray
    user_UF: np.ndarray
    item_IF: np.ndarray
    count_U: np.ndarray
    count_I: np.ndarray
    variance: float


def init_from_svd(model: PreferenceModel, reviews: Batch, seed: int) -> None:
    """Set the weights of an untrained model so that it predicts the biased SVD of training reviews.

    Args:
        model: changed in place.
        reviews: training reviews, on the CPU.
        seed: of the held-out reviews and of the randomised SVD.
    """
    decoder, embedding = model.decoder, model.encoder.user.offset.embedding_dim
    count = min(decoder.left.in_features, decoder.right.in_features, decoder.left.out_features) - 1
    count = min(count, embedding - 1, model.users, model.items)
    table = model.encoder.user.offset
    by_row = replace(reviews, user_B=table.rows(reviews.user_B.to(model.device)).cpu())
    factors = factorise(by_row, table.num_embeddings, model.items + 1, count, seed)
    _set_embeddings(model.encoder.user, factors.user_UF, factors.bias_U, factors.count_U)
    _set_embeddings(model.encoder.item, factors.item_IF, factors.bias_I, factors.count_I)
    _set_decoder(model, factors, torch.bincount(reviews.level_B, minlength=model.levels))


def factorise(reviews: Batch, users: int, items: int, count: int, seed: int) -> Factors:
    """Return a biased SVD of the levels, with each factor weighted by how well it predicts held-out reviews.

    Args:
        reviews: training reviews, on the CPU.
        users: number of users, with the unknown.
        items: number of items, with the unknown.
        count: F, number of factors.
        seed: of the held-out reviews and of the randomised SVD.
    """
    user, item, level = (column.numpy() for column in (reviews.user_B, reviews.item_B, reviews.level_B))
    count_U, count_I = np.bincount(user, minlength=users), np.bincount(item, minlength=items)
    bias_U, bias_I = _biases(user, item, level - level.mean(), count_U, count_I)
    residual = (level - level.mean() - bias_U[user] - bias_I[item]).astype(np.float32)
    held_out_N = np.random.default_rng(seed).random(len(user)) < HELD_OUT_SHARE
    fit_N = ~held_out_N
    left_UF, value_F, right_FI = randomized_svd(
        csr_matrix((residual[fit_N], (user[fit_N], item[fit_N])), shape=(users, items)),
        n_components=max(count, 1),
        random_state=seed,
    )
    user_UF = _shrink_and_standardise(left_UF[:, :count] * value_F[:count], count_U)
    item_IF = _shrink_and_standardise(right_FI[:count].T * value_F[:count], count_I)
    # On the reviews of the SVD every factor seems to explain something. Held-out reviews show which factors do.
    product_NF = user_UF[user[held_out_N]] * item_IF[item[held_out_N]]
    if count and held_out_N.any():
        weight_F = nnls(product_NF.astype(np.float64), residual[held_out_N].astype(np.float64))[0]
    else:  # of few reviews, none may be held out: then no factor is known to predict anything
        weight_F = np.zeros(count)
    scale_F = np.sqrt(weight_F)
    return Factors(bias_U, bias_I, user_UF * scale_F, item_IF * scale_F, count_U, count_I, float(residual.var()))


def _biases(
    user: np.ndarray, item: np.ndarray, centred: np.ndarray, count_U: np.ndarray, count_I: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what users and items add to the mean, with shrinkage, by an alternating fit."""
    bias_U, bias_I = np.zeros(len(count_U)), np.zeros(len(count_I))
    for _ in range(BIAS_ROUNDS):
        bias_U = np.bincount(user, centred - bias_I[item], len(count_U)) / (count_U + SHRINKAGE)
        bias_I = np.bincount(item, centred - bias_U[user], len(count_I)) / (count_I + SHRINKAGE)
    return bias_U, bias_I


def _shrink_and_standardise(sum_NF: np.ndarray, count_N: np.ndarray) -> np.ndarray:
    """Return the shrunk mean of each id, scaled to unit standard deviation over the ids."""
    mean_NF: np.ndarray = sum_NF / (count_N[:, None] + SHRINKAGE)
    unit_NF: np.ndarray = mean_NF / np.maximum(mean_NF.std(0), 1e-9)
    return unit_NF


@torch.no_grad()
def _set_embeddings(side: SideEncoder, factor_NF: np.ndarray, bias_N: np.ndarray, count_N: np.ndarray) -> None:
    """Put bias and factors into the first dimensions of the embeddings."""
    start_NV = np.concatenate([bias_N[:, None], factor_NF], axis=1)[1:]
    width = start_NV.shape[1]
    if side.features:
        # The offset of an id holds what its description does not predict. An id without reviews has only the latter.
        described_NF = side.description_NF[1:].cpu().numpy()
        ridge = RidgeCV(RIDGE_PENALTIES, fit_intercept=False).fit(described_NF, start_NV, sample_weight=count_N[1:])
        weight_VF = ridge.coef_.reshape(width, -1)
        side.read.weight[:width] = torch.from_numpy(weight_VF).float()
        start_NV = start_NV - described_NF @ weight_VF.T
    side.offset.weight[1:, :width] = torch.from_numpy(start_NV).float()


@torch.no_grad()
def _set_decoder(model: PreferenceModel, factors: Factors, count_R: Tensor) -> None:
    """Set logits whose expected level is the sum of mean, biases and factors.

    The derivative of the expected level with respect to the slope of the logits is the variance of the levels.
    """
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
