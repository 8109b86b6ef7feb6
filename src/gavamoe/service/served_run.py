"""A loaded run with everything that requests read, immutable: a reload replaces the whole object.

Every request keeps the `ServedRun` it began with, so no answer mixes two runs.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.conditions import Condition
from gavamoe.errors import RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.explanation_store import describe_decoding
from gavamoe.run import RunDirectory
from gavamoe.service.clusters import describe_clusters, training_pairs
from gavamoe.service.latent_map import DECIMALS, LatentMap
from gavamoe.service.search import PrefixIndex

DIGEST_SHOWN = 12
FEATURES_SHOWN = 200
DETAILS_CACHED = 50_000  # pairs


@dataclass(frozen=True, eq=False)
class ServedRun:
    """A run that is served.

    Args:
        path: its directory.
        digest: of its files (`RunDirectory.digest`).
        explainer: both stages.
        pairs: training pairs: user_id, item_id, level, rating, feature; sorted by user.
        profile_UK: mean responsibilities by user id.
        profile_IK: mean responsibilities by item id.
        clusters: descriptions of the clusters.
        map: the plane of the latent space.
        users: search by name.
        items: search by name and title.
    """

    path: Path
    digest: str
    explainer: Explainer
    pairs: pl.DataFrame
    profile_UK: np.ndarray
    profile_IK: np.ndarray
    clusters: list[dict[str, Any]]
    map: LatentMap
    users: PrefixIndex
    items: PrefixIndex
    _details: OrderedDict[tuple[int, int], dict[str, Any]] = field(default_factory=OrderedDict)

    @classmethod
    def load(cls, path: Path) -> ServedRun:
        """Load a run and prepare what requests read.

        Raises:
            RunError: The run is missing, damaged, or changed while it was read.
        """
        directory = RunDirectory(path)
        explainer = Explainer.from_pretrained(path)
        digest = directory.digest()
        catalog, preference = explainer.catalog, explainer.preference
        pairs, gamma_NK, cluster_N = training_pairs(explainer)
        user_id, item_id = (pairs[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
        profile_UK = _mean_by_id(gamma_NK, user_id, catalog.n_users)
        latent_ND = preference.latent(torch.from_numpy(user_id), torch.from_numpy(item_id)).cpu().numpy()
        item_names = zip(catalog.items["item"].to_list(), catalog.items["title"].to_list(), strict=True)
        if directory.digest() != digest:
            raise RunError(f"the run {path} changed while it was read; write a new run to a new directory")
        return cls(
            path=path,
            digest=digest,
            explainer=explainer,
            pairs=pairs.sort("user_id", maintain_order=True),
            profile_UK=profile_UK,
            profile_IK=_mean_by_id(gamma_NK, item_id, catalog.n_items),
            clusters=describe_clusters(explainer, pairs, cluster_N, profile_UK),
            map=LatentMap.fit(latent_ND, cluster_N),
            users=PrefixIndex([[name] for name in catalog.users["user"].to_list()], catalog.user_counts[1:]),
            items=PrefixIndex([list(names) for names in item_names], catalog.items["n_train"].to_numpy()),
        )

    @property
    def name(self) -> str:
        """Name of the run's directory."""
        return self.path.resolve().name

    @cached_property
    def id(self) -> str:
        """What answers call the run: its name and the beginning of its digest."""
        return f"{self.name}@{self.digest[:DIGEST_SHOWN]}"

    @cached_property
    def default_decoding(self) -> str:
        """The run's decoding as keys of the store hold it."""
        return describe_decoding(self.explainer.decoding)

    def about(self) -> dict[str, Any]:
        """Return what GET /v1/run answers."""
        catalog, config = self.explainer.catalog, self.explainer.model.config
        layers = config.moe_layers
        if layers is None:
            layers = list(range(config.text_config.get_text_config().num_hidden_layers))
        return {
            "run": self.id,
            "name": self.name,
            "digest": self.digest,
            "users": catalog.n_users,
            "items": catalog.n_items,
            "reviews": catalog.history.height,
            "clusters": self.explainer.preference.clusters,
            "layers": len(layers),
            "experts": config.experts,
            "top_k": config.experts_per_token,
            "scale": list(catalog.scale.values),
            "conditions": self.explainer.context.describe(Condition()),
            "features": self._common_features(),
        }

    def pair_details(self, user: str, item: str) -> dict[str, Any]:
        """Return the rating distribution and the place on the map of a pair, unknown users and items included."""
        catalog = self.explainer.catalog
        ids = catalog.user_id(user), catalog.item_id(item)
        details = self._details.get(ids)
        if details is None:
            details = self._details[ids] = self._compute_details(*ids)
            if len(self._details) > DETAILS_CACHED:
                self._details.popitem(last=False)
        return details

    def _compute_details(self, user_id: int, item_id: int) -> dict[str, Any]:
        users_UD, items_ID = self._latent_means
        mu_1D = torch.cat([users_UD[user_id], items_ID[item_id]])[None]
        with torch.inference_mode():
            p_R = self.explainer.preference.decoder(mu_1D).softmax(-1)[0].tolist()
        scale = self.explainer.catalog.scale.values
        return {
            "rating_distribution": [
                {"rating": rating, "p": round(p, DECIMALS + 2)} for rating, p in zip(scale, p_R, strict=True)
            ],
            "map": self.map.place(mu_1D.cpu().numpy().astype(np.float64))[0].tolist(),
        }

    @cached_property
    def _latent_means(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.explainer.preference.latent_means()

    def _common_features(self) -> list[str]:
        background = self.explainer.context.features.background.sort("share", "feature", descending=[True, False])
        return background["feature"].head(FEATURES_SHOWN).to_list()


def _mean_by_id(gamma_NK: np.ndarray, id_N: np.ndarray, count: int) -> np.ndarray:
    """Return mean responsibilities by id, [count + 1, K]; 0 for an id without a pair."""
    sum_UK = np.zeros((count + 1, gamma_NK.shape[1]))
    np.add.at(sum_UK, id_N, gamma_NK)
    return sum_UK / np.maximum(np.bincount(id_N, minlength=count + 1), 1)[:, None]
