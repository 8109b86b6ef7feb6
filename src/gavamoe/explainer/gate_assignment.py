"""Which gate a pair uses: that of its stage-1 cluster or, for ablations, another assignment.

    model    the pair's cluster in stage 1
    random   a hash of the pair, unrelated to the ratings
    kmeans   the nearest k-means centre in stage 1's latent space, without a mixture prior
    one      a single gate for every pair

A pair's gate never depends on the rest of its batch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.cluster import KMeans

from gavamoe.files import reading, write_json
from gavamoe.language.sampling import pair_keys, splitmix64
from gavamoe.preference.model import PreferenceModel

GateSource = Literal["model", "random", "kmeans", "one"]
IN_WORDS: dict[GateSource, str] = {
    "model": "one gate per cluster",
    "random": "a random gate for each pair",
    "kmeans": "one gate per k-means cluster",
    "one": "one gate for all pairs",
}
FILE = "clusters.json"
KMEANS_SAMPLE, KMEANS_RESTARTS = 50_000, 5  # largest number of pairs, and number of starts


@dataclass(frozen=True)
class GateAssignment:
    """Assigns one of `count` gates to each pair.

    Args:
        source: the rule (see the top of the file).
        count: number of gates.
        seed: of `random`.
        centres: of `kmeans`, [K, D] in stage 1's latent space.
    """

    source: GateSource
    count: int
    seed: int = 0
    centres: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def fit(
        cls, source: GateSource, preference: PreferenceModel, user_N: np.ndarray, item_N: np.ndarray, seed: int
    ) -> GateAssignment:
        """Return the assignment of a rule; only `kmeans` learns from the training pairs, ids int64 [N]."""
        if source == "one":
            return cls(source, 1)
        if source != "kmeans":
            return cls(source, preference.clusters, seed)
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(user_N), min(KMEANS_SAMPLE, len(user_N)), replace=False)
        latent_ND = preference.latent(user_N[rows], item_N[rows]).cpu().numpy()
        kmeans = KMeans(min(preference.clusters, len(rows)), n_init=KMEANS_RESTARTS, random_state=seed).fit(latent_ND)
        return cls(source, len(kmeans.cluster_centers_), seed, tuple(map(tuple, kmeans.cluster_centers_.tolist())))

    def assign(
        self, preference: PreferenceModel, user_N: np.ndarray, item_N: np.ndarray, cluster_N: np.ndarray
    ) -> np.ndarray:
        """Return the gate of each pair, int64 [N] in 0..count-1.

        Args:
            preference: stage 1.
            user_N: users of the pairs.
            item_N: items of the pairs.
            cluster_N: clusters of the pairs in stage 1.
        """
        if self.source == "model":
            return cluster_N
        if self.source == "one":
            return np.zeros_like(cluster_N)
        if self.source == "random":
            user, item = (torch.from_numpy(np.array(ids, dtype=np.int64)) for ids in (user_N, item_N))
            user = user.clamp_max(preference.users + 1)  # guests share one key, since their ids depend on the request
            return (splitmix64(pair_keys(user, item, self.seed)) % self.count).numpy()
        centres_KD = torch.tensor(self.centres)
        return torch.cdist(preference.latent(user_N, item_N).cpu(), centres_KD).argmin(1).numpy()

    def save(self, directory: Path) -> None:
        """Write clusters.json."""
        write_json(directory / FILE, {name: getattr(self, name) for name in ("source", "count", "seed", "centres")})

    @classmethod
    def load(cls, directory: Path, preference: PreferenceModel) -> GateAssignment:
        """Read what `save` wrote; without the file, gates are stage 1's clusters.

        Raises:
            RunError: The file is damaged.
        """
        if not (directory / FILE).is_file():
            return cls("model", preference.clusters)
        with reading(directory / FILE):
            saved = json.loads((directory / FILE).read_text(encoding="utf-8"))
            return cls(**{**saved, "centres": tuple(map(tuple, saved["centres"]))})
