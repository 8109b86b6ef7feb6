"""How reliably pairs are routed: pairs near a boundary, similar pairs with different gates, change under retraining.

Shape legend: N pairs, K clusters (gates), D latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.neighbors import NearestNeighbors

from gavamoe.data.dataset import InteractionArrays

NEAR = 0.1  # a pair is near a boundary if its two largest responsibilities differ by less
MAX_PAIRS = 4_000  # pairs whose nearest neighbours are searched
NEIGHBOURS = 50  # candidates for the nearest pair of another user
JITTER = 0.1  # share of the training ratings that are dropped or replaced
JITTERS = ("drop", "flip")


@dataclass(frozen=True)
class BoundaryFigures:
    """How decided the choice of a gate is.

    Args:
        near_boundary: share of pairs whose two largest responsibilities differ by less than `NEAR`.
        median_gap: median difference of the two.
        neighbour_disagreement: share of pairs whose nearest pair of another user has another gate, divided by that
            share for gates drawn at random; 0 is perfect, 1 is random. None if all pairs have one gate.
        gap_deciles: the gap at each tenth of the pairs, from the smallest to the largest.
    """

    near_boundary: float
    median_gap: float
    neighbour_disagreement: float | None
    gap_deciles: list[float]


def boundary_figures(
    gamma_NK: np.ndarray, latent_ND: np.ndarray, user_N: np.ndarray, gate_N: np.ndarray, seed: int
) -> BoundaryFigures | None:
    """Return how decided the gates of pairs are; None with a single cluster or without pairs.

    Args:
        gamma_NK: responsibilities.
        latent_ND: latent means.
        user_N: user ids.
        gate_N: the gates that stage 2 uses.
        seed: of the sample of pairs whose neighbours are searched.
    """
    if gamma_NK.shape[1] < 2 or not len(gamma_NK):
        return None
    top_N2 = np.sort(gamma_NK, axis=1)[:, -2:]
    gap_N = top_N2[:, 1] - top_N2[:, 0]
    return BoundaryFigures(
        near_boundary=float((gap_N < NEAR).mean()),
        median_gap=float(np.median(gap_N)),
        neighbour_disagreement=neighbour_disagreement(latent_ND, user_N, gate_N, seed),
        gap_deciles=np.quantile(gap_N, np.linspace(0, 1, 11)).tolist(),
    )


def neighbour_disagreement(latent_ND: np.ndarray, user_N: np.ndarray, gate_N: np.ndarray, seed: int) -> float | None:
    """Return how often the nearest pair of another user has another gate, relative to gates drawn at random.

    Pairs of one user share the user's half of the latent, so they would agree whatever the gates are.
    """
    rows = np.random.default_rng(seed).permutation(len(gate_N))[:MAX_PAIRS]
    latent_ND, user_N, gate_N = latent_ND[rows], user_N[rows], gate_N[rows]
    share_K = np.bincount(gate_N) / len(gate_N)
    by_chance = 1 - np.square(share_K).sum()
    count = min(NEIGHBOURS + 1, len(latent_ND))
    if by_chance < 1e-9 or count < 2:
        return None
    near_NC = NearestNeighbors(n_neighbors=count).fit(latent_ND).kneighbors(latent_ND, return_distance=False)
    other_NC = user_N[near_NC] != user_N[:, None]
    found_N = other_NC.any(1)
    if not found_N.any():
        return None
    nearest_N = near_NC[np.arange(len(near_NC)), other_NC.argmax(1)]
    differs_N = gate_N[nearest_N] != gate_N
    return float(differs_N[found_N].mean() / by_chance)


def match_gates(one_N: np.ndarray, other_N: np.ndarray, gates: int = 0) -> np.ndarray:
    """Return the gate of one training that each gate of another training is matched with, [K].

    The matching is one to one (Hungarian algorithm), and leaves the fewest pairs with different gates.

    Args:
        one_N: gates of the pairs in one training.
        other_N: their gates in another training.
        gates: K; more if a pair has a higher one.
    """
    gates = max(gates, int(max(one_N.max(initial=0), other_N.max(initial=0))) + 1)
    both_KK = np.zeros((gates, gates))
    np.add.at(both_KK, (other_N, one_N), 1)
    matched_K: np.ndarray = linear_sum_assignment(both_KK, maximize=True)[1]
    return matched_K


def changed_share(one_N: np.ndarray, other_N: np.ndarray) -> float:
    """Return the share of pairs whose gate differs between two trainings after the gates are matched."""
    return float((match_gates(one_N, other_N)[other_N] != one_N).mean()) if len(one_N) else 0.0


def jitter(reviews: InteractionArrays, kind: str, levels: int, seed: int, share: float = JITTER) -> InteractionArrays:
    """Return training reviews of which a share, drawn at random, is changed.

    Args:
        reviews: the training reviews.
        kind: `drop` leaves these reviews out, `flip` gives each another level, drawn at random.
        levels: number of rating levels.
        seed: of the draws.
        share: of the reviews.
    """
    rng = np.random.default_rng(seed)
    changed_N = rng.random(len(reviews)) < share
    if kind == "drop":
        return reviews.rows(~changed_N)
    shifted_N = (reviews.level - 1 + rng.integers(1, max(levels, 2), len(reviews))) % levels + 1
    return replace(reviews, level=np.where(changed_N, shifted_N, reviews.level))
