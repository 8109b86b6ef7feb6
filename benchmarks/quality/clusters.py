"""Measure whether stage 1 finds the groups of simulated worlds, compared with two other methods in one run.

    python benchmarks/quality/clusters.py [--seeds 3] [--largest 1000000] [--curve size|noise|sparsity]

Prints one Markdown table per curve. Its values are the adjusted Rand index between the true group of each pair's user
and the cluster of the pair: the mean over the seeds, and the smallest. Each seed has a separate world; a million
reviews use one seed. The other methods cluster users, and a pair gets its user's cluster:
    mf + k-means    k-means on the user vectors of a matrix factorisation (cornac)
    ae + mixture    a Gaussian mixture on the users' latents of the same autoencoder, trained without a prior
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.simulate import World, simulate
from gavamoe.preference.batches import Interactions
from gavamoe.preference.mixture_fit import fit_user_mixture, observed_user_latents
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference, pretrain

LEVELS, VALID_SHARE = 5, 0.1
WAYS = ("GaVaMoE", "ae + mixture", "mf + k-means")


def world(reviews: int, clusters: int, per_user: float = 25, seed: int = 0, noise: float = World.noise) -> World:
    """Return a world of users with `per_user` reviews each, and as many items as a site of that size would have."""
    users = max(int(reviews / per_user), 2 * clusters)
    items = max(40, int(users**0.5 * 10), int(2 * per_user))
    return World(users=users, items=items, reviews=reviews, clusters=clusters, seed=seed, noise=noise)


class Pairs:
    """A world's interactions, split into training and a tenth for validation, and the true groups."""

    def __init__(self, about: World):
        frame = simulate(about)
        user, item = (np.unique(frame[name].to_numpy(), return_inverse=True)[1] + 1 for name in ("user", "item"))
        level = frame["rating"].to_numpy().astype(np.int64)
        valid = np.random.default_rng(about.seed).random(len(frame)) < VALID_SHARE
        self.user, self.item, self.group = user, item, frame["cluster"].to_numpy()
        self.train = InteractionArrays(user[~valid], item[~valid], level[~valid])
        self.valid = InteractionArrays(user[valid], item[valid], level[valid])
        self.users, self.items = int(user.max()), int(item.max())


def assign(way: str, pairs: Pairs, clusters: int, seed: int) -> np.ndarray:
    """The cluster of each pair."""
    config = PreferenceConfig(clusters=clusters, batch_size=512 if len(pairs.user) < 100_000 else 4096)
    if way == "mf + k-means":
        return _mf_kmeans(pairs, clusters, seed)[pairs.user]
    model = PreferenceModel.from_config(pairs.users, pairs.items, LEVELS, config, seed)
    if way == "GaVaMoE":
        fit_preference(model, pairs.train, pairs.valid, config, seed)
        return model.assign(torch.from_numpy(pairs.user), torch.from_numpy(pairs.item)).numpy()
    pretrain(model, pairs.train, pairs.valid, config, seed)
    counts = Interactions(pairs.train).counts(model.users, model.items)[0]
    mixture = fit_user_mixture(observed_user_latents(model, counts), clusters, config.restarts, seed)
    return mixture.predict(model.latent_means()[0].double().numpy())[pairs.user]


def _mf_kmeans(pairs: Pairs, clusters: int, seed: int) -> np.ndarray:
    """The cluster of each user id."""
    from cornac.data import Dataset
    from cornac.models import MF

    train = pairs.train
    rows = zip(train.user_id.tolist(), train.item_id.tolist(), train.level.tolist(), strict=True)
    data = Dataset.build(list(rows))
    model = MF(k=8, max_iter=100, learning_rate=0.01, lambda_reg=0.02, early_stop=True, num_threads=1, seed=seed)
    model.fit(data)
    label_U = np.zeros(pairs.users + 1, np.int64)
    labels = KMeans(clusters, n_init=10, random_state=seed).fit_predict(model.u_factors)
    label_U[list(data.uid_map)] = labels[list(data.uid_map.values())]
    return label_U


def curves(largest: int) -> dict[str, list[tuple[str, World]]]:
    sizes = [n for n in (1_000, 10_000, 100_000, 1_000_000) if n <= largest]
    return {
        "size": [(f"K {k}, {n:,} reviews", world(n, k)) for k in (3, 5, 8) for n in sizes],
        "noise": [(f"K 5, noise {x}", world(20_000, 5, noise=x)) for x in (0.2, 0.35, 0.7, 1.0, 1.5, 2.0)],
        "sparsity": [(f"K 5, {x} reviews a user", world(20_000, 5, per_user=x)) for x in (3, 5, 8, 12, 25, 50)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--curve", choices=("size", "noise", "sparsity"))
    options = parser.parse_args()
    for name, worlds in curves(options.largest).items():
        if options.curve in (None, name):
            print(f"\n| {name} | users, items | {' | '.join(WAYS)} | seconds |\n|---|---|{'---|' * len(WAYS)}---|")
            for label, about in worlds:
                print(row(label, about, options.seeds), flush=True)


def row(label: str, about: World, seeds: int) -> str:
    """A line of the table; seconds are those of GaVaMoE's training."""
    indices: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds = []
    for seed in range(seeds if about.reviews < 1_000_000 else 1):
        pairs = Pairs(replace(about, seed=seed))
        for way in WAYS:
            started = time.perf_counter()
            indices[way].append(adjusted_rand_score(pairs.group, assign(way, pairs, about.clusters, seed)))
            if way == WAYS[0]:
                seconds.append(time.perf_counter() - started)
    cells = [f"{np.mean(values):.2f} ({min(values):.2f})" for values in indices.values()]
    return f"| {label} | {about.users:,}, {about.items:,} | {' | '.join(cells)} | {np.mean(seconds):.0f} |"


if __name__ == "__main__":
    main()
