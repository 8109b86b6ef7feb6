"""What a diagnosis examines: a run, its data, and the measurements that need both.

Every measurement reads a bounded sample, so its time does not grow with the data beyond that.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import HAS_TEXT, InteractionArrays, ReviewDataset, id_arrays
from gavamoe.data.tables import sample_rows
from gavamoe.diagnostics.checks import NO_STAGE_2
from gavamoe.diagnostics.clusterings import cluster_users
from gavamoe.diagnostics.clusters import posterior_information, summarize_clusters
from gavamoe.diagnostics.comparison import ClusteringFigures, TextPairs, compare_clusterings
from gavamoe.diagnostics.expert_probe import ExpertProbe
from gavamoe.diagnostics.experts import ExpertFigures, examine_experts
from gavamoe.diagnostics.latent_map import draw_pairs
from gavamoe.diagnostics.routing import JITTER, JITTERS, BoundaryFigures, boundary_figures, jitter, match_gates
from gavamoe.diagnostics.text_checks import TextFigures, text_figures
from gavamoe.diagnostics.text_stability import TextChange, TextStability
from gavamoe.diagnostics.writing import writing_by_cluster
from gavamoe.explainer.expert_usage import has_experts
from gavamoe.explainer.explainer import Explainer
from gavamoe.files import reading
from gavamoe.parameters import num_parameters
from gavamoe.pipeline.run_data import require_dataset
from gavamoe.preference.model import PreferenceModel, assign_clusters
from gavamoe.preference.recommender import load_preference
from gavamoe.preference.trainer import fit_preference
from gavamoe.preference.word_gain import WordCounts
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory

MAX_TRAIN_TEXTS, MAX_VALID_TEXTS = 20_000, 10_000  # texts whose words are counted
MAX_PAIRS = 20_000  # validation pairs whose routing is examined
PROBED_TEXTS, PROBED_TEXTS_OF_LARGE, LARGE = 256, 64, 50_000_000  # texts that stage 2 reads, by its weights
WRITTEN_TEXTS, WRITTEN_TEXTS_OF_LARGE = 100, 10  # pairs whose texts are written with other gates
ANOTHER_SEED = "another seed"
PREDICTIONS = "predictions.jsonl"


class DiagnosedRun:
    """A run, its data and what several parts of the diagnosis need of them.

    Args:
        run: the run.
        dataset: its data.
        card: how the run was made.
        model: stage 1.
    """

    def __init__(self, run: RunDirectory, dataset: ReviewDataset, card: RunCard, model: PreferenceModel):
        self.run, self.dataset, self.card, self.model = run, dataset, card, model
        self.seed, self.config = card.settings.seed, card.settings.preference
        self.train, self.valid = dataset.interactions("train"), dataset.interactions("valid")
        self.cluster_N = assign_clusters(model, self.train)
        self._arrays: dict[str, InteractionArrays] = {}

    @classmethod
    def open(cls, path: Path, data: Path | None = None, verify: bool = False) -> DiagnosedRun:
        """Read stage 1 of a run and its dataset.

        Args:
            path: the run.
            data: its dataset, if it has moved; it must have the run's users, items and training reviews.
            verify: whether the checksums of large files of the run are checked too.

        Raises:
            DataError: the dataset that the run was trained on is not where the run says.
            RunError: there is no run at `path`, or it lacks stage 1.
        """
        run = RunDirectory(path)
        run.require(*PREFERENCE_FILES, *CATALOG_FILES)
        run.check_seal(verify)
        card = run.read_card()
        catalog = Catalog.load(run.catalog)
        dataset = require_dataset(run, catalog) if data is None else ReviewDataset.load(data)
        return cls(run, dataset, card, load_preference(run))

    @cached_property
    def explainer(self) -> Explainer | None:
        """Both stages of the run; None if it has stage 1 alone."""
        return Explainer.from_pretrained(self.run.path) if self.run.has(EXPLAINER_FILES) else None

    @cached_property
    def texts_by_split(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """A sample of the training and of the validation reviews with text."""
        limits = (MAX_TRAIN_TEXTS, MAX_VALID_TEXTS)
        train, valid = (
            sample_rows(f.filter(HAS_TEXT), n) for f, n in zip((self.train, self.valid), limits, strict=True)
        )
        return train, valid

    @cached_property
    def counts(self) -> WordCounts | None:
        """The words of `texts_by_split`; None without texts."""
        train, valid = self.texts_by_split
        return WordCounts.of(train["text"].to_list(), valid["text"].to_list())

    def arrays(self, split: str) -> InteractionArrays:
        """Return ids and levels of a split, and what stage 1 reads of the texts if it reads them; read once."""
        if split not in self._arrays:
            arrays, target = self.dataset.arrays(split), self.model.text_target
            if target is not None:
                arrays = target.with_units(arrays, self.dataset.interactions(split, target.columns))
            self._arrays[split] = arrays
        return self._arrays[split]

    def mapped_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the latent means [n, D] and clusters [n] of the training pairs that a latent map is fitted to."""
        rows = draw_pairs(len(self.train))
        return self.latent(self.train[rows]), self.cluster_N[rows]

    def latent(self, reviews: pl.DataFrame) -> np.ndarray:
        """Return the latent means of the pairs of reviews, [N, D]."""
        latent_ND: np.ndarray = self.model.latent(*id_arrays(reviews)).cpu().numpy()
        return latent_ND

    def describe_clusters(self) -> list[dict[str, Any]]:
        """Return each cluster's size, labels, tastes, words, length of texts and typical users."""
        profile_UK = self.model.user_profile(*id_arrays(self.train)).cpu().numpy()
        gates = assign_clusters(self.model, self.texts_by_split[0])
        writing = writing_by_cluster(self.counts, gates, self.dataset.catalog, profile_UK)
        return [
            asdict(summary) | asdict(writing[summary.cluster]) | {"words": list(writing[summary.cluster].words)}
            for summary in summarize_clusters(self.cluster_N, self.train, self.dataset.catalog)
        ]

    def compare(self) -> list[ClusteringFigures]:
        """Return the figures of the run's clusters and of other clusterings of the same users."""
        arrays = self.arrays("train")
        texts = None
        if self.counts is not None:
            train, valid = self.texts_by_split
            users = [frame["user_id"].to_numpy().astype(np.int64) for frame in (train, valid)]
            gates = [assign_clusters(self.model, frame) for frame in (train, valid)]
            texts = TextPairs(self.counts, *users, *gates)
        clusterings = cluster_users(self.model, arrays, self.arrays("valid"), self.config, self.seed)
        return compare_clusterings(clusterings, np.unique(arrays.user_id), texts, self.seed)

    def boundary(self) -> BoundaryFigures | None:
        """Return how decided the gates of validation pairs are."""
        pairs = sample_rows(self.valid, MAX_PAIRS)
        gamma_NK = self.model.responsibilities(*id_arrays(pairs)).cpu().numpy()
        ids = id_arrays(pairs)
        gates = gamma_NK.argmax(1)
        if self.explainer is not None:
            gates = self.explainer.context.gates.assign(self.model, *ids, gates)
        return boundary_figures(gamma_NK, self.latent(pairs), ids[0], gates, self.seed)

    def information(self) -> float:
        """Return how many nats the latent of a pair's user says about the user."""
        return posterior_information(self.model, self.arrays("train").user_id)

    def retrain(self, seeds: int) -> dict[str, list[PreferenceModel]]:
        """Train stage 1 with other seeds, and on jittered ratings; return the models by what was changed."""
        models: dict[str, list[PreferenceModel]] = {}
        for number in range(1, seeds + 1):
            other = self.train_again(self.arrays("train"), self.seed + number)
            models.setdefault(ANOTHER_SEED, []).append(other)
            for kind in JITTERS:
                reviews = jitter(self.arrays("train"), kind, self.model.levels, self.seed + number)
                models.setdefault(f"{JITTER:.0%} of ratings {kind}ped", []).append(self.train_again(reviews, self.seed))
        return models

    def text_changes(
        self, models: dict[str, list[PreferenceModel]], clusters: dict[str, list[np.ndarray]]
    ) -> dict[str, TextChange]:
        """Return how the texts of some validation pairs change with the gates of other trainings of stage 1.

        `another draw` has the run's own gates and another seed of decoding, for comparison. Empty without stage 2, or
        if its gates are not stage 1's clusters.

        Args:
            models: other trainings of stage 1, by what was changed (`retrain`).
            clusters: the clusters of the training pairs in each, in the same order.
        """
        explainer = self.explainer
        if not models or explainer is None or explainer.context.gates.source != "model":
            return {}
        count = WRITTEN_TEXTS_OF_LARGE if num_parameters(explainer.model) > LARGE else WRITTEN_TEXTS
        pairs = sample_rows(self.valid.unique(["user_id", "item_id"], maintain_order=True), count)
        stability = TextStability(explainer, pairs, self.seed)

        def gates(model: PreferenceModel, cluster_N: np.ndarray) -> np.ndarray:
            return match_gates(self.cluster_N, cluster_N, model.clusters)[assign_clusters(model, pairs)]

        changes = {"another draw": stability.with_another_draw()}
        return changes | {kind: stability.with_gates(map(gates, models[kind], clusters[kind])) for kind in models}

    def train_again(self, reviews: InteractionArrays, seed: int) -> PreferenceModel:
        """Train stage 1 with the run's settings on other reviews or with another seed."""
        catalog, config = self.dataset.catalog, self.config.model_copy(update={"clusters": self.model.clusters})
        sizes = catalog.n_users, catalog.n_items, catalog.scale.levels
        model = PreferenceModel.from_config(*sizes, config, seed, self.model.vocabulary)
        if config.item_features:
            model.set_item_features(self.model.encoder.item.description_NF[1:].detach())
        model = model.to(self.model.device)
        fit_preference(model, reviews, self.arrays("valid"), config, seed)
        return model.eval()

    def examine_experts(self, explainer: Explainer) -> ExpertFigures | str:
        """Return what the experts do on a sample of validation texts, or why that cannot be measured."""
        if not has_experts(explainer.model):
            return "the run has no experts"
        large = num_parameters(explainer.model) > LARGE
        reviews = sample_rows(self.valid.filter(HAS_TEXT), PROBED_TEXTS_OF_LARGE if large else PROBED_TEXTS)
        if reviews.is_empty():
            return "there are no validation reviews with text"
        config = self.card.settings.explainer.resolve_defaults(base=self.card.base_model is not None)
        probe = ExpertProbe(explainer, reviews, config, self.seed)
        return examine_experts(probe, explainer.context.gates.source == "model", self.seed)

    def texts(self) -> TextFigures | str:
        """Return figures of the predictions of the run's last evaluation, or why there are none."""
        if self.explainer is None:
            return NO_STAGE_2
        file = self.run.path / PREDICTIONS
        if not file.is_file():
            return f"the run has no {PREDICTIONS}: run `gavamoe evaluate {self.run.path}` first"
        with reading(file):
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            return text_figures(rows, self.dataset.catalog, self.train)
