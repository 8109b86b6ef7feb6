"""What is known of a pair before a text is written: rating and cluster, likely feature, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gavamoe.conditions import Condition, given_column
from gavamoe.data.catalog import Catalog
from gavamoe.explainer.dataset import PairContext, no_evidence
from gavamoe.explainer.evidence import EvidenceIndex, PairEvidence
from gavamoe.explainer.explanation import Evidence
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.features.predictor import FeaturePredictor
from gavamoe.preference.model import PreferenceModel


@dataclass(frozen=True)
class PreferenceOutput:
    """Stage 1's word on N pairs: expected level [N] in 1..R, responsibilities [N, K], and the gate's cluster [N]."""

    level: np.ndarray
    responsibilities: np.ndarray
    cluster: np.ndarray


@dataclass(frozen=True)
class ContextBuilder:
    """Everything of a run but its language model. quoted: sentences of evidence that a prompt holds."""

    preference: PreferenceModel
    catalog: Catalog
    clusters: GateAssignment
    features: FeaturePredictor
    evidence: EvidenceIndex
    quoted: int = 0

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        catalog: Catalog,
        preference: PreferenceModel,
        clusters: GateAssignment,
        quoted: int = 0,
    ) -> ContextBuilder:
        """From training reviews as they were prepared, with text."""
        users_UD = preference.latent_means()[0].cpu().numpy()
        cluster = clusters.assign(preference, *_ids(train))
        evidence = EvidenceIndex.fit(train, cluster, users_UD, catalog.scale.levels, catalog.extractor)
        return cls(preference, catalog, clusters, FeaturePredictor.fit(train), evidence, quoted)

    def save(self, directory: Path) -> None:
        """Write what stage 2 knows besides its model; stage 1 and the catalog have places of their own."""
        self.features.save(directory)
        self.evidence.save(directory)
        if self.clusters.source != "model":
            self.clusters.save(directory)

    @classmethod
    def load(cls, directory: Path, preference: PreferenceModel, catalog: Catalog, quoted: int) -> ContextBuilder:
        """What `save` wrote, with stage 1 and the catalog of the run."""
        return cls(
            preference,
            catalog,
            GateAssignment.load(directory, preference),
            FeaturePredictor.load(directory),
            EvidenceIndex.load(directory, preference.latent_means()[0].cpu().numpy(), catalog.scale.levels),
            quoted,
        )

    def predict_preference(self, user_id: np.ndarray, item_id: np.ndarray) -> PreferenceOutput:
        """Rating and cluster of pairs of ids."""
        user, item = (torch.from_numpy(np.array(ids, dtype=np.int64)) for ids in (user_id, item_id))
        level = self.preference.predict_rating(user, item).cpu().numpy()
        gamma = self.preference.responsibilities(user, item).cpu().numpy()
        return PreferenceOutput(level, gamma, self.clusters.assign(self.preference, user_id, item_id))

    def build(self, frame: pl.DataFrame, condition: Condition) -> tuple[PairContext, PreferenceOutput]:
        """What the prompts of named pairs may state under a condition."""
        user_id = np.array([self.catalog.user_id(name) for name in frame["user"].to_list()], dtype=np.int64)
        item_id = np.array([self.catalog.item_id(name) for name in frame["item"].to_list()], dtype=np.int64)
        judged = self.predict_preference(user_id, item_id)
        level: Sequence[int | None] = [None] * len(frame)
        if condition.rating == "predicted":
            level = np.rint(judged.level).astype(int).tolist()
        elif condition.rating == "given":
            level = self.catalog.scale.to_level(given_column(frame, "rating")).to_list()
        feature: Sequence[str | None] = [None] * len(frame)
        if condition.feature == "predicted":
            feature = self.features.predict(user_id, item_id)
        elif condition.feature == "given":
            feature = given_column(frame, "feature").to_list()

        def references(row: int, count: int) -> Sequence[Sequence[str]]:
            return self.evidence.around(int(user_id[row]), int(item_id[row]), count)

        columns = PairContext(user_id, item_id, judged.cluster, level, feature, references=references)
        return self._quoting(columns, judged.level), judged

    def from_reviews(self, reviews: pl.DataFrame) -> PairContext:
        """What the prompts of prepared reviews state: true level and feature, and evidence, never their own.

        So a loss over validation reviews is an oracle's (`TRUTH`). Training hides facts at random.
        """
        user_id, item_id = _ids(reviews)
        judged = self.predict_preference(user_id, item_id)
        level, feature = reviews["level"].to_list(), reviews["feature"].to_list()
        return self._quoting(PairContext(user_id, item_id, judged.cluster, level, feature), judged.level)

    def _quoting(self, pairs: PairContext, predicted: np.ndarray) -> PairContext:
        """The same pairs, their prompts quoting evidence where the run does; predicted: level [N]."""
        found = PairEvidence(self.evidence, pairs.user_id, pairs.item_id, pairs.cluster, predicted)
        pairs.evidence = (lambda row, feature: found.texts(row, feature, self.quoted)) if self.quoted else no_evidence
        return pairs

    def evidence_of(self, pairs: PairContext, judged: PreferenceOutput, count: int) -> list[list[Evidence]]:
        """The best sentences of others for each pair, with names; none where the item is unknown."""
        found = PairEvidence(self.evidence, pairs.user_id, pairs.item_id, pairs.cluster, judged.level)
        to_rating, names = self.catalog.scale.to_rating, self.catalog.user_names
        return [
            [
                Evidence(
                    user=names[said.user_id],
                    text=said.text,
                    rating=float(to_rating(np.array([said.level]))[0]),
                    score=said.score,
                    parts=said.parts,
                    feature=said.feature,
                    cluster=said.cluster,
                )
                for said in found.find(row, pairs.feature[row], count)
            ]
            for row in range(len(pairs))
        ]


def _ids(reviews: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    user_id, item_id = (reviews[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id"))
    return user_id, item_id
