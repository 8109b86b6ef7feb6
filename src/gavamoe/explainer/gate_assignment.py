"""Which gate a pair takes: that of its cluster in stage 1, or, to see what the clusters are worth, another.

`random` gives every pair a cluster that means nothing, `kmeans` divides the same latents without a mixture prior, and
`one` has a single gate for all. A pair's gate never depends on the rest of its batch.
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
from gavamoe.language.sampling import mix, pair_keys
from gavamoe.preference.model import PreferenceModel

GateSource = Literal["model", "random", "kmeans", "one"]
FILE = "clusters.json"
SAMPLE, RESTARTS = 50_000, 5  # k-means sees at most so many pairs, from so many starts


@dataclass(frozen=True)
class GateAssignment:
    """Pairs to gates.

    count: how many gates. seed: of `random`. centres: of `kmeans`, [K, D] in stage 1's latent space.
    """

    source: GateSource
    count: int
    seed: int = 0
    centres: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def fit(
        cls, source: GateSource, preference: PreferenceModel, user_N: np.ndarray, item_N: np.ndarray, seed: int
    ) -> GateAssignment:
        """From the training pairs, ids int64 [N]."""
        if source == "one":
            return cls(source, 1)
        if source != "kmeans":
            return cls(source, preference.clusters, seed)
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(user_N), min(SAMPLE, len(user_N)), replace=False)
        latent = preference.latent(torch.from_numpy(user_N[rows]), torch.from_numpy(item_N[rows])).cpu().numpy()
        found = KMeans(min(preference.clusters, len(rows)), n_init=RESTARTS, random_state=seed).fit(latent)
        return cls(source, len(found.cluster_centers_), seed, tuple(map(tuple, found.cluster_centers_.tolist())))

    def assign(self, preference: PreferenceModel, user_N: np.ndarray, item_N: np.ndarray) -> np.ndarray:
        """The gate of each pair, int64 [N] in 0..count-1."""
        user, item = (torch.from_numpy(np.array(ids, dtype=np.int64)) for ids in (user_N, item_N))
        if self.source == "one":
            return np.zeros(len(user), dtype=np.int64)
        if self.source == "random":
            return (mix(pair_keys(user, item, self.seed)) % self.count).numpy()
        if self.source == "kmeans":
            centres_KD = torch.tensor(self.centres)
            return torch.cdist(preference.latent(user, item).cpu(), centres_KD).argmin(1).numpy()
        return preference.assign(user, item).cpu().numpy()

    def save(self, directory: Path) -> None:
        """Write clusters.json."""
        write_json(directory / FILE, {name: getattr(self, name) for name in ("source", "count", "seed", "centres")})

    @classmethod
    def load(cls, directory: Path, preference: PreferenceModel) -> GateAssignment:
        """Read what `save` wrote, `RunError` when it is damaged; where nothing is, stage 1's clusters."""
        if not (directory / FILE).is_file():
            return cls("model", preference.clusters)
        with reading(directory / FILE):
            kept = json.loads((directory / FILE).read_text(encoding="utf-8"))
            return cls(**{**kept, "centres": tuple(map(tuple, kept["centres"]))})
