"""A plane in which the clusters of stage 1 can be seen: the two best linear discriminants of the latents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

POINTS = 2_000
FITTED = 20_000  # training pairs that the plane is fitted to
DECIMALS = 4


def draw_pairs(count: int) -> np.ndarray:
    """Return which of `count` training pairs a plane is fitted to, at most `FITTED`, in random order."""
    return np.random.default_rng(0).permutation(count)[:FITTED]


@dataclass(frozen=True)
class LatentMap:
    """A linear map from the latent space to a plane, with training pairs in it.

    Args:
        centre: latent that becomes the origin, [D].
        axes: [D, 2].
        points: x and y of training pairs, [n, 2].
        clusters: their clusters, [n].
        axis_names: how the two axes were made.
    """

    centre: np.ndarray
    axes: np.ndarray
    points: np.ndarray
    clusters: np.ndarray
    axis_names: tuple[str, str]

    @property
    def method(self) -> str:
        """How the plane was made."""
        return " and ".join(self.axis_names)

    @classmethod
    def fit(cls, latent_ND: np.ndarray, cluster_N: np.ndarray) -> LatentMap:
        """Fit the plane to the latents and clusters of training pairs (`draw_pairs`); the first of them are shown.

        With a single cluster, the axes are the two principal components.
        """
        centre = latent_ND.mean(0) if len(latent_ND) else np.zeros(latent_ND.shape[1])
        axes, names = _discriminants(latent_ND - centre, cluster_N)
        missing = 2 - axes.shape[1]
        if missing:
            axes = np.hstack([axes, _principal(latent_ND - centre, axes, missing)])
            names = [*names, *["principal component"] * missing]
        plane_N2 = (latent_ND - centre) @ axes
        axes = axes / np.maximum(plane_N2.std(0), 1e-12) if len(plane_N2) > 1 else axes
        points = ((latent_ND - centre) @ axes)[:POINTS]
        return cls(centre, axes, points, cluster_N[:POINTS], (names[0], names[1]))

    def place(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return the points of latents in the plane, [N, 2]."""
        return np.round((latent_ND - self.centre) @ self.axes, DECIMALS)


def _discriminants(latent_ND: np.ndarray, cluster_N: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return up to two axes, [D, 1 or 2], along which the clusters differ most; none with a single cluster."""
    found, count = np.unique(cluster_N, return_counts=True)
    if len(found) < 2 or count.sum() <= len(found):
        return np.zeros((latent_ND.shape[1], 0)), []
    analysis = LinearDiscriminantAnalysis(solver="svd", n_components=min(2, len(found) - 1, latent_ND.shape[1]))
    analysis.fit(latent_ND, cluster_N)
    axes = analysis.scalings_[:, : min(2, len(found) - 1)]
    return axes, [f"linear discriminant {number + 1}" for number in range(axes.shape[1])]


def _principal(latent_ND: np.ndarray, axes: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` largest principal axes of what is orthogonal to `axes`, [D, count]."""
    if axes.shape[1]:
        basis, _ = np.linalg.qr(axes)
        latent_ND = latent_ND - latent_ND @ basis @ basis.T
    if not len(latent_ND):
        return np.eye(latent_ND.shape[1])[:, :count]
    return np.linalg.svd(latent_ND, full_matrices=False)[2][:count].T
