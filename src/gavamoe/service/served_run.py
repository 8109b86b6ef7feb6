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
from gavamoe.data.catalog import Catalog
from gavamoe.diagnostics.latent_map import DECIMALS, LatentMap, draw_pairs
from gavamoe.errors import RunError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.explanation_store import describe_decoding
from gavamoe.preference.fold_in import with_guests
from gavamoe.preference.history import UserHistory
from gavamoe.preference.model import PreferenceModel, mean_by_id
from gavamoe.preference.recommender import Recommender
from gavamoe.run import RunDirectory
from gavamoe.service.clusters import NO_SENTENCES, describe_clusters, training_pairs
from gavamoe.service.search import PrefixIndex

DIGEST_SHOWN = 12
FEATURES_SHOWN = 200
DETAILS_CACHED = 50_000  # pairs
# What GET /v1/run answers about stage 2 where there is none.
ABOUT_STAGE_1_ALONE = {"texts": False, "layers": 0, "experts": 0, "top_k": 0, "conditions": {}, "features": []}


class NoTextsError(Exception):
    """A text was requested of a run that has stage 1 alone; the message says so in one line."""


@dataclass(frozen=True, eq=False)
class ServedRun:
    """A run that is served: both stages, or stage 1 alone, which predicts ratings and writes no texts.

    Args:
        path: its directory, or a link to it, which a reload reads again.
        name: of the directory.
        digest: of its files (`RunDirectory.digest`).
        recommender: stage 1 with the names of users and items.
        stage_2: both stages; None for a run of stage 1 alone.
        pairs: training pairs: user_id, item_id, level, rating, feature; sorted by user.
        profile_UK: mean responsibilities by user id.
        profile_IK: mean responsibilities by item id.
        clusters: descriptions of the clusters.
        map: the plane of the latent space.
        users: search by name.
        items: search by name and title.
    """

    path: Path
    name: str
    digest: str
    recommender: Recommender
    stage_2: Explainer | None
    pairs: pl.DataFrame
    profile_UK: np.ndarray
    profile_IK: np.ndarray
    clusters: list[dict[str, Any]]
    map: LatentMap
    users: PrefixIndex
    items: PrefixIndex
    _details: OrderedDict[tuple[int, int], dict[str, Any]] = field(default_factory=OrderedDict)
    _guest: list[tuple[Any, PreferenceModel]] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, verify: bool = False) -> ServedRun:
        """Load a run and prepare what requests read.

        Args:
            path: its directory, or a link to it; the link may change while the run is read.
            verify: whether the checksums of large files are checked too.

        Raises:
            RunError: The run is missing, damaged, or changed while it was read.
        """
        directory = RunDirectory(path.resolve())
        digest = directory.digest()
        explainer = None if directory.has_stage_1_alone else Explainer.from_pretrained(directory.path, verify=verify)
        if explainer is None:
            recommender = Recommender.from_pretrained(directory.path, verify=verify)
        else:
            recommender = Recommender(explainer.preference, explainer.catalog)
        catalog, preference = recommender.catalog, recommender.preference
        sentences = NO_SENTENCES if explainer is None else explainer.context.evidence.sentences
        pairs, gamma_NK, cluster_N = training_pairs(recommender, sentences)
        user_id, item_id = (pairs[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
        profile_UK, profile_IK = (
            mean_by_id(torch.from_numpy(gamma_NK).double(), torch.from_numpy(id_N), last_id).numpy()
            for id_N, last_id in ((user_id, catalog.n_users), (item_id, catalog.n_items))
        )
        mapped = draw_pairs(len(pairs))
        latent_ND = preference.latent(user_id[mapped], item_id[mapped]).cpu().numpy()
        item_names = zip(catalog.items["item"].to_list(), catalog.items["title"].to_list(), strict=True)
        if directory.digest() != digest:
            raise RunError(f"the run {path} changed while it was read; write a new run to a new directory")
        return cls(
            path=path,
            name=directory.path.name,
            digest=digest,
            recommender=recommender,
            stage_2=explainer,
            pairs=pairs.sort("user_id", maintain_order=True),
            profile_UK=profile_UK,
            profile_IK=profile_IK,
            clusters=describe_clusters(catalog, sentences, pairs, cluster_N, profile_UK),
            map=LatentMap.fit(latent_ND, cluster_N[mapped]),
            users=PrefixIndex([[name] for name in catalog.users["user"].to_list()], catalog.user_counts[1:]),
            items=PrefixIndex([list(names) for names in item_names], catalog.items["n_train"].to_numpy()),
        )

    @property
    def catalog(self) -> Catalog:
        """Names, rating scale and training history."""
        return self.recommender.catalog

    @property
    def explainer(self) -> Explainer:
        """Both stages.

        Raises:
            NoTextsError: The run has stage 1 alone.
        """
        if self.stage_2 is None:
            raise NoTextsError(
                f"the run {self.name} has stage 1 alone: it predicts ratings (POST /v1/recommend) and writes no texts; "
                "serve a run with both stages for explanations"
            )
        return self.stage_2

    def require_texts(self) -> None:
        """Raise `NoTextsError` unless the run writes texts: a request is refused before it waits in the queue."""
        _ = self.explainer

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
        catalog = self.catalog
        return {
            "run": self.id,
            "name": self.name,
            "digest": self.digest,
            "users": catalog.n_users,
            "items": catalog.n_items,
            "reviews": catalog.history.height,
            "clusters": self.recommender.preference.clusters,
            "scale": list(catalog.scale.values),
            **(ABOUT_STAGE_1_ALONE if self.stage_2 is None else self._about_texts(self.stage_2)),
        }

    def pair_details(self, user: str, item: str) -> dict[str, Any]:
        """Return the rating distribution and the place on the map of a pair, unknown users and items included."""
        catalog = self.catalog
        ids = catalog.user_id(user), catalog.item_id(item)
        details = self._details.get(ids)
        if details is None:
            details = self._details[ids] = self._compute_details(*ids)
            if len(self._details) > DETAILS_CACHED:
                self._details.popitem(last=False)
        return details

    def guest_details(self, history: UserHistory, item: str) -> dict[str, Any]:
        """Return the rating distribution and the place on the map of an item for a user estimated from a history."""
        user, item_id = torch.tensor([self.catalog.n_users + 1]), torch.tensor([self.catalog.item_id(item)])
        with torch.inference_mode():
            return self._details_at(self._with_guest(history).latent(user, item_id))

    def _with_guest(self, history: UserHistory) -> PreferenceModel:
        """Return stage 1 with the user; the last one is kept, as a request often has many items for one history."""
        last = self._guest[-1] if self._guest else None
        if last is None or last[0] != history.rated:
            preference = self.recommender.preference
            last = (history.rated, with_guests(preference, [history.estimate(preference)]))
            self._guest[:] = [last]
        return last[1]

    def _compute_details(self, user_id: int, item_id: int) -> dict[str, Any]:
        user, item = torch.tensor([user_id]), torch.tensor([item_id])
        return self._details_at(self.recommender.preference.latent(user, item))

    def _details_at(self, mu_1D: torch.Tensor) -> dict[str, Any]:
        with torch.inference_mode():
            p_R = self.recommender.preference.decoder(mu_1D).softmax(-1)[0].tolist()
        scale = self.catalog.scale.values
        return {
            "rating_distribution": [
                {"rating": rating, "p": round(p, DECIMALS + 2)} for rating, p in zip(scale, p_R, strict=True)
            ],
            "map": self.map.place(mu_1D.cpu().numpy().astype(np.float64))[0].tolist(),
        }

    def item_features(self, item_id: int) -> pl.DataFrame:
        """Return how often training reviews of an item mention each feature: feature and count, most frequent first."""
        if self.stage_2 is None:
            return pl.DataFrame(schema={"feature": pl.String, "count": pl.Int64})
        counts, _ = self.stage_2.context.features.by_side["item"].rows_of(np.array([item_id]))
        return counts.sort("count", "feature", descending=[True, False]).select("feature", "count")

    def _about_texts(self, explainer: Explainer) -> dict[str, Any]:
        """Return what GET /v1/run answers about stage 2."""
        config = explainer.model.config
        layers = config.moe_layers
        if layers is None:
            layers = list(range(config.text_config.get_text_config().num_hidden_layers))
        background = explainer.context.features.background.sort("share", "feature", descending=[True, False])
        return {
            "texts": True,
            "layers": len(layers),
            "experts": config.experts,
            "top_k": config.experts_per_token,
            "conditions": explainer.context.describe(Condition()),
            "features": background["feature"].head(FEATURES_SHOWN).to_list(),
        }
