"""What is known about a pair before its text is written: rating, cluster, likely feature, evidence, references.

names (user, item) --build--> PairContext (what prompt and model read) + PreferenceOutput (stage 1's prediction)
prepared reviews --from_reviews--> the same, with the true level and feature
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gavamoe.conditions import Condition, Context, given_column
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import id_arrays
from gavamoe.errors import DataError
from gavamoe.explainer.evidence import EvidenceIndex, PairEvidence
from gavamoe.explainer.explanation import Evidence
from gavamoe.explainer.facts import ItemTexts, PairFacts
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.features.predictor import FeaturePredictor
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import PromptFields, Quotation
from gavamoe.language.template import PromptTemplate
from gavamoe.preference.model import PreferenceModel, assign_clusters


@dataclass(frozen=True)
class PreferenceOutput:
    """What stage 1 predicts for N pairs.

    Args:
        level: expected rating level in 1..R, float [N].
        responsibilities: of the K clusters for each pair, [N, K].
    """

    level: np.ndarray
    responsibilities: np.ndarray

    @cached_property
    def cluster(self) -> np.ndarray:
        """The likeliest cluster of each pair, [N]."""
        return self.responsibilities.argmax(-1)


@dataclass(frozen=True)
class PairContext:
    """What the model and the prompt of N pairs are given: plain arrays and strings.

    A column of texts is empty if no prompt states it.

    Args:
        user_id: [N], 0 for an unknown user.
        item_id: [N], 0 for an unknown item.
        gate: the gate of each pair, [N].
        level: rating level that the prompt states, None where it is withheld.
        feature: feature that the prompt states, None where it is withheld.
        evidence: sentences by others about the item that each prompt quotes.
        name: name of the item that the prompt states.
        categories: of the item.
        description: of the item.
        history: (item's name, sentence by the user) that each prompt quotes.
    """

    user_id: np.ndarray
    item_id: np.ndarray
    gate: np.ndarray
    level: Sequence[int | None]
    feature: Sequence[str | None]
    evidence: Sequence[Sequence[str]] = ()
    name: Sequence[str | None] = ()
    categories: Sequence[Sequence[str]] = ()
    description: Sequence[str | None] = ()
    history: Sequence[Sequence[tuple[str, str]]] = ()

    def __len__(self) -> int:
        return len(self.user_id)

    def fields(self, row: int) -> PromptFields:
        """Return what the prompt of a row states."""
        return PromptFields(
            self.level[row],
            self.feature[row],
            tuple(self.evidence[row]) if self.evidence else (),
            self.name[row] if self.name else None,
            tuple(self.categories[row]) if self.categories else (),
            self.description[row] if self.description else None,
            tuple(Quotation(*each) for each in self.history[row]) if self.history else (),
        )

    def prompts(self, encode: PromptEncoder) -> list[list[int]]:
        """Return the token ids of each row's prompt."""
        return [encode(self.fields(row)) for row in range(len(self))]

    def model_inputs(self, rows: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """Return user_ids, item_ids and cluster_ids of rows, int64 [B] each, as the model's `forward` takes them."""
        columns = {"user_ids": self.user_id, "item_ids": self.item_id, "cluster_ids": self.gate}
        return {name: torch.as_tensor(column[list(rows)], device=device) for name, column in columns.items()}

    def with_fields(self, fields: Sequence[PromptFields]) -> PairContext:
        """Return the pairs with the texts that their prompts state."""
        return replace(
            self,
            evidence=[each.evidence for each in fields],
            name=[each.name for each in fields],
            categories=[each.categories for each in fields],
            description=[each.description for each in fields],
            history=[each.history for each in fields],
        )


@dataclass(frozen=True)
class ContextBuilder:
    """Everything of a run but its language model.

    Args:
        preference: stage 1.
        catalog: names, rating scale and training history.
        gates: assigns gates to pairs.
        features: predicts the feature of a pair.
        evidence: training sentences by item.
        evidence_quotes: how many sentences of evidence each prompt quotes.
        template: of prompts in words; None for prompts of special tokens.
        history_quotes: how many sentences by the user a prompt in words quotes.
    """

    preference: PreferenceModel
    catalog: Catalog
    gates: GateAssignment
    features: FeaturePredictor
    evidence: EvidenceIndex
    evidence_quotes: int = 0
    template: PromptTemplate | None = None
    history_quotes: int = 0

    @classmethod
    def fit(
        cls,
        train: pl.DataFrame,
        catalog: Catalog,
        preference: PreferenceModel,
        gates: GateAssignment,
        evidence_quotes: int = 0,
        template: PromptTemplate | None = None,
        history_quotes: int = 0,
    ) -> ContextBuilder:
        """Fit the feature predictor and the evidence index on prepared training reviews with text."""
        users_UD = preference.latent_means()[0].cpu().numpy()
        cluster_N = assign_clusters(preference, train)
        evidence = EvidenceIndex.fit(train, cluster_N, users_UD, catalog.scale.levels, catalog.extractor)
        features = FeaturePredictor.fit(train)
        return cls(preference, catalog, gates, features, evidence, evidence_quotes, template, history_quotes)

    def save(self, directory: Path) -> None:
        """Write what belongs to stage 2; stage 1 and the catalog are saved elsewhere in the run."""
        self.features.save(directory)
        self.evidence.save(directory)
        if self.gates.source != "model":
            self.gates.save(directory)
        if self.template is not None:
            self.template.save(directory)

    @classmethod
    def load(
        cls,
        directory: Path,
        preference: PreferenceModel,
        catalog: Catalog,
        evidence_quotes: int,
        history_quotes: int = 0,
    ) -> ContextBuilder:
        """Read what `save` wrote and combine it with the run's stage 1 and catalog."""
        return cls(
            preference,
            catalog,
            GateAssignment.load(directory, preference),
            FeaturePredictor.load(directory),
            EvidenceIndex.load(directory, preference.latent_means()[0].cpu().numpy(), catalog.scale.levels),
            evidence_quotes,
            PromptTemplate.load(directory),
            history_quotes,
        )

    @property
    def most_context(self) -> Context:
        """The most that the run's prompts can state beside rating and feature (`Condition.context`)."""
        return "none" if self.template is None else "history"

    def describe(self, condition: Condition) -> dict[str, Any]:
        """Return the condition, with its context decided, and how many sentences by others the prompts quote.

        Raises:
            ConfigError: The run's prompts cannot state the context.
        """
        decided = condition.with_context(self.most_context)
        quotes = self.template is None or decided.states("evidence")
        return decided.to_dict() | {"evidence": self.evidence_quotes if quotes else 0}

    def predict_preference(self, user_id: np.ndarray, item_id: np.ndarray) -> PreferenceOutput:
        """Predict rating level and responsibilities of pairs, ids int64 [N]."""
        level = self.preference.predict_rating(user_id, item_id).cpu().numpy()
        gamma = self.preference.responsibilities(user_id, item_id).cpu().numpy()
        return PreferenceOutput(level, gamma)

    def build(
        self, frame: pl.DataFrame, condition: Condition, guest_ids: np.ndarray | None = None
    ) -> tuple[PairContext, PreferenceOutput]:
        """Return what the prompts of named pairs state under a condition, and stage 1's prediction.

        Args:
            frame: columns user and item; rating and feature where the condition says `given`.
            condition: where the prompt's rating and feature come from.
            guest_ids: user ids to use instead of those of the names, [N]; -1 looks the name up (`guests`).

        Raises:
            DataError: A column that the condition needs is missing.
        """
        user_id = np.array([self.catalog.user_id(name) for name in frame["user"].to_list()], dtype=np.int64)
        if guest_ids is not None:
            user_id = np.where(guest_ids >= 0, guest_ids, user_id)
        item_id = np.array([self.catalog.item_id(name) for name in frame["item"].to_list()], dtype=np.int64)
        predicted = self.predict_preference(user_id, item_id)
        level: Sequence[int | None] = [None] * len(frame)
        if condition.rating == "predicted":
            level = np.rint(predicted.level).astype(int).tolist()
        elif condition.rating == "given":
            level = self.catalog.scale.to_level(given_column(frame, "rating")).to_list()
        feature: Sequence[str | None] = [None] * len(frame)
        if condition.feature == "predicted":
            feature = self.features.predict(user_id, item_id)
        elif condition.feature == "given":
            feature = [given or None for given in given_column(frame, "feature").to_list()]
        pairs = self._with_gates(predicted, user_id, item_id, level, feature)
        facts = self.facts(pairs, predicted, frame["item"].to_list())
        if facts is not None:
            # Evidence of a prompt of special tokens is a setting of the run: the condition does not withhold it.
            context = condition.with_context(self.most_context).context or "none"
            pairs = pairs.with_fields([facts.fields(r, level[r], feature[r], context) for r in range(len(pairs))])
        return pairs, predicted

    def from_reviews(self, reviews: pl.DataFrame) -> tuple[PairContext, PreferenceOutput]:
        """Return the true level and feature of prepared reviews, and stage 1's prediction.

        A loss over validation reviews is therefore an oracle's (`conditions.TRUTH`). Training hides fields at random,
        and quotations depend on what is hidden; so `ExplanationDataset` looks them up per epoch (`facts`).
        """
        user_id, item_id = id_arrays(reviews)
        predicted = self.predict_preference(user_id, item_id)
        level, feature = reviews["level"].to_list(), reviews["feature"].to_list()
        return self._with_gates(predicted, user_id, item_id, level, feature), predicted

    def _with_gates(
        self,
        predicted: PreferenceOutput,
        user_id: np.ndarray,
        item_id: np.ndarray,
        level: Sequence[int | None],
        feature: Sequence[str | None],
    ) -> PairContext:
        gate = self.gates.assign(self.preference, user_id, item_id, predicted.cluster)
        return PairContext(user_id, item_id, gate, level, feature)

    def facts(self, pairs: PairContext, predicted: PreferenceOutput, names: Sequence[str]) -> PairFacts | None:
        """Return what prompts can state beside rating and feature, to be looked up by row; None if that is nothing.

        Args:
            pairs: the pairs.
            predicted: stage 1's prediction for them.
            names: each item's name in the reviews.
        """
        if self.template is not None:
            return PairFacts(self._pair_evidence(pairs, predicted, self.evidence_quotes), self._item_texts, names)
        return PairFacts(self._pair_evidence(pairs, predicted, self.evidence_quotes)) if self.evidence_quotes else None

    @cached_property
    def _item_texts(self) -> ItemTexts:
        return ItemTexts.from_catalog(self.catalog)

    def best_evidence(self, pairs: PairContext, predicted: PreferenceOutput, count: int) -> list[list[Evidence]]:
        """Return up to `count` sentences by other users for each pair, best first, with their authors' names."""
        found = self._pair_evidence(pairs, predicted, count)
        to_rating, names = self.catalog.scale.to_rating, self.catalog.user_names
        return [
            [
                Evidence(
                    user=names[sentence.user_id],
                    text=sentence.text,
                    rating=float(to_rating(np.array([sentence.level]))[0]),
                    score=sentence.score,
                    parts=sentence.parts,
                    feature=sentence.feature,
                    cluster=sentence.cluster,
                )
                for sentence in found.retrieve(row, pairs.feature[row])
            ]
            for row in range(len(pairs))
        ]

    def _pair_evidence(self, pairs: PairContext, predicted: PreferenceOutput, count: int) -> PairEvidence:
        ids = pairs.user_id, pairs.item_id, predicted.cluster
        in_words = self.template is not None
        return PairEvidence(
            self.evidence,
            *ids,
            predicted.level,
            count,
            history=self.history_quotes if in_words else 0,
            other_clusters=in_words,
        )

    def reference_sentences(self, user_id: int, item_id: int, count: int) -> tuple[list[str], list[str]]:
        """Return up to `count` sentences by the user on other items, and by other users on the item.

        Drafts are compared with them (`gavamoe.language.mbr`). Only training reviews are in the index.
        """
        return self.evidence.reference_sentences(user_id, item_id, count)


def pair_frame(pairs: pl.DataFrame | Sequence[tuple[Any, Any]]) -> pl.DataFrame:
    """Return pairs as a frame with user and item as strings; other columns of a frame are kept.

    Raises:
        DataError: A frame lacks user or item.
    """
    if not isinstance(pairs, pl.DataFrame):
        pairs = pl.DataFrame(
            {"user": [str(user) for user, _ in pairs], "item": [str(item) for _, item in pairs]},
            schema={"user": pl.String, "item": pl.String},
        )
    for name in ("user", "item"):
        if name not in pairs.columns:
            raise DataError(f"pairs need a column {name}; found {', '.join(pairs.columns)}")
    return pairs.with_columns(pl.col("user", "item").cast(pl.String))


def single_pair(user: Any, item: Any, rating: float | None, feature: str | None) -> tuple[pl.DataFrame, Condition]:
    """Return one pair as a frame, with the condition that a rating or feature passed is given and others predicted."""
    frame = pl.DataFrame({"user": [str(user)], "item": [str(item)]})
    if rating is not None:
        frame = frame.with_columns(rating=pl.lit(float(rating)))
    if feature is not None:
        frame = frame.with_columns(feature=pl.lit(feature))
    return frame, Condition("predicted" if rating is None else "given", "predicted" if feature is None else "given")
