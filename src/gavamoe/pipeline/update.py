"""`gavamoe train --update RUN`: what an update takes from the run that it starts from, and what it refuses.

settings_of_update   RUN's settings with those of the command line
UpdateSource         the run, checked against the newer data: stage 1 and stage 2 to start from
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from gavamoe.config import ExplainerConfig, PreferenceConfig, RunConfig, changed_config
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import InteractionArrays, ReviewDataset
from gavamoe.data.id_map import IdMap, count_known_pairs
from gavamoe.errors import ConfigError, DataError, RunError
from gavamoe.explainer.warm_start import WarmStart
from gavamoe.language.decoding_config import DECODING_SETTINGS
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.recommender import load_preference
from gavamoe.preference.trainer import PreferenceTrainer
from gavamoe.preference.update import PreferenceUpdate
from gavamoe.preference.warm_start import align_features, user_clusters, warm_model
from gavamoe.run import CATALOG_FILES, EXPLAINER_FILES, PREFERENCE_FILES, RunCard, RunDirectory

# Settings that an update may change: how it trains, and how texts are decoded. All others describe the model, or are
# kept in its configuration (dropout, weights of the router's losses).
PREFERENCE_MAY_CHANGE = frozenset(
    {"beta", "update_epochs", "epochs", "pretrain_epochs", "warmup_epochs", "patience", "batch_size", "learning_rate"}
    | {"weight_decay", "embedding_learning_rate", "id_dropout", "precision", "restarts", "cluster_range"}
)
EXPLAINER_MAY_CHANGE = frozenset(
    {"update_epochs", "epochs", "patience", "batch_size", "accumulation", "gradient_checkpointing", "learning_rate"}
    | {"gate_rate_factor", "vector_rate_factor", "weight_decay", "warmup_ratio", "precision", "tensorboard", "save"}
    | {"lora_targets", "lora_rank", "lora_alpha", "lora_dropout", "lora_experts", "load_in_4bit", "max_reviews"}
    | {"rating_dropout", "feature_dropout", "id_dropout", "context_dropout", "compile", "max_tokens"}
    | {*DECODING_SETTINGS}
)
LEARNING_RATE_SHARE = 0.5  # of explainer.learning_rate: trained weights are to move, not to be found again


def settings_of_update(source: Path, config_file: Path | None, settings: list[str]) -> RunConfig:
    """Return the settings of a run, overridden by a configuration file and by `key=value` texts.

    Raises:
        RunError: there is no run at `source`.
        ConfigError: a setting is unknown or out of range.
    """
    return changed_config(_own_settings(RunDirectory(source)), config_file, settings)


def _own_settings(run: RunDirectory) -> RunConfig:
    """Return the settings of a run with K as it was trained, also where K had been chosen by a criterion."""
    trained, settings = load_preference(run), run.read_card().settings
    preference = settings.preference.model_copy(update={"clusters": trained.clusters, "choose_clusters": None})
    return settings.model_copy(update={"preference": preference})


@dataclass(frozen=True)
class UpdateSource:
    """A trained run that an update starts from.

    Args:
        run: its directory.
        card: what its run.yaml holds.
        catalog: its users, items and training history.
        dataset: the newer data.
        ids: the run's ids of the newer data's users and items.
    """

    run: RunDirectory
    card: RunCard
    catalog: Catalog
    dataset: ReviewDataset
    ids: IdMap

    @classmethod
    def open(cls, path: Path, dataset: ReviewDataset) -> UpdateSource:
        """Open a run and check that newer data can update it.

        Raises:
            RunError: the run is missing, incomplete or damaged.
            DataError: the data has another rating scale, or none of the run's users and items.
            ConfigError: stage 1 of the run reads texts.
        """
        run = RunDirectory(path)
        run.require(*CATALOG_FILES, *PREFERENCE_FILES)
        run.check_seal()
        catalog, scale = Catalog.load(run.catalog), dataset.catalog.scale
        if scale != catalog.scale:
            raise DataError(
                f"{dataset.path} has ratings {scale} ({scale.levels} levels), {path} was trained on {catalog.scale} "
                f"({catalog.scale.levels} levels): prepare the data with that --scale, or train a new run"
            )
        ids = IdMap.between(catalog, dataset.catalog)
        if not (ids.user.any() and ids.item.any()):
            side = "items" if ids.user.any() else "users"
            raise DataError(
                f"{dataset.path} has none of the {side} of {path}: an update needs the data of the run with newer "
                "reviews appended; train a new run instead"
            )
        card = run.read_card()
        if card.settings.preference.text_kind is not None:
            raise ConfigError(
                f"stage 1 of {path} reads texts (preference.reconstructs={card.settings.preference.reconstructs}), and "
                "cannot be updated; train a new run instead"
            )
        return cls(run, card, catalog, dataset, ids)

    @classmethod
    def reopen(cls, card: RunCard, dataset: ReviewDataset, path: Path | None) -> UpdateSource | None:
        """Open the run that a run to go on with is updated from; None if it is no update.

        Args:
            card: of the run to go on with.
            dataset: the newer data.
            path: where the user says that the run is; None is where the card says.

        Raises:
            RunError: it is not there, or it is another run.
        """
        record = card.updated_from
        if record is None:
            if path is not None:
                raise RunError("the run to go on with was started without --update; leave --update out")
            return None
        source = path or Path(record["run"])
        if not source.is_dir():
            raise RunError(f"the run that the update started from is not at {source}; say where it is with --update")
        if RunDirectory(source).digest() != record["digest"]:
            raise RunError(
                f"{source} is not the run that the update started from: its files differ; name that run with "
                "--update, or start anew with another --out"
            )
        return cls.open(source, dataset)

    def record(self) -> dict[str, Any]:
        """Return what run.yaml keeps about the source of an update."""
        held_out = self.dataset.interactions(columns=["user", "item", "split"])
        held_out = held_out.filter(held_out["split"] != "train")
        return {
            "run": str(self.run.path.resolve()),
            "digest": self.run.digest(),
            "reviews": self.catalog.history.height,
            "new_users": self.ids.new_users,
            "new_items": self.ids.new_items,
            "lost_users": self.ids.lost_users,
            "lost_items": self.ids.lost_items,
            "held_out": held_out.height,
            "held_out_seen": count_known_pairs(self.catalog, held_out),
        }

    @cached_property
    def settings(self) -> RunConfig:
        """The settings of the run."""
        return _own_settings(self.run)

    def check(self, card: RunCard, with_texts: bool) -> None:
        """Check that the settings of an update describe the model of the run.

        Args:
            card: of the update.
            with_texts: whether stage 2 is updated too.

        Raises:
            ConfigError: a setting that describes the model differs, or the base model does.
            RunError: stage 2 is to be updated and the run has none.
        """
        base = self.card.base_model
        if card.base_model != base:
            raise ConfigError(
                f"base model {card.base_model}: {self.run.path} is built around {base or 'an LM from scratch'}, and an "
                "update keeps it; leave out --base-model, or train a new run"
            )
        own, new = self.settings, card.settings
        _check_same("preference", own.preference, new.preference, PREFERENCE_MAY_CHANGE, self.run.path)
        if not with_texts:
            return
        if not self.run.has(EXPLAINER_FILES):
            raise RunError(f"{self.run.path} has stage 1 alone: update it with --stage preference")
        own_explainer, new_explainer = (config.explainer.resolve_defaults(base is not None) for config in (own, new))
        _check_same("explainer", own_explainer, new_explainer, EXPLAINER_MAY_CHANGE, self.run.path)
        if new.explainer.save == "adapter":
            raise ConfigError(
                f"explainer.save=adapter: {self.run.path} holds an adapter of its base model, and an update merges "
                "both; add --set explainer.save=merged --set explainer.load_in_4bit=false"
            )

    def preference_model(self, train: InteractionArrays) -> PreferenceModel:
        """Return stage 1 with the weights of the run, for the users and items of the newer data."""
        return warm_model(self.trained, self.ids, train, self._item_features())

    @property
    def preference_trainer(self) -> Callable[..., PreferenceTrainer]:
        """The trainer that keeps the run's cluster numbers."""
        return partial(PreferenceUpdate, anchor_U=user_clusters(self.trained, self.ids))

    def warm_explainer(self) -> WarmStart:
        """Return what stage 2 starts from."""
        return WarmStart(self.run.explainer, self.trained, self.ids)

    @cached_property
    def trained(self) -> PreferenceModel:
        """The run's stage 1."""
        return load_preference(self.run)

    def _item_features(self) -> torch.Tensor | None:
        """Return description features of the newer items in the run's space: known items keep theirs."""
        width = self.trained.encoder.item.features
        if not width:
            return None
        text = ItemText(self.catalog.items, width, self.card.settings.seed)
        trained_NF = self.trained.encoder.item.description_NF.cpu()
        again_NF = text.vectors(self.catalog.items)
        mapped_NF = align_features(trained_NF[1:], again_NF, text.vectors(self.dataset.catalog.items))
        old = torch.from_numpy(self.ids.item[1:])
        return torch.where((old > 0)[:, None], trained_NF[old], mapped_NF)


def explainer_settings(card: RunCard) -> ExplainerConfig:
    """Return the settings that an update trains stage 2 with: fewer epochs and a lower learning rate."""
    explainer = card.settings.explainer.resolve_defaults(card.base_model is not None)
    rate = (explainer.learning_rate or 0.0) * LEARNING_RATE_SHARE
    return explainer.model_copy(update={"epochs": explainer.update_epochs, "learning_rate": rate})


def _check_same(
    step: str,
    own: PreferenceConfig | ExplainerConfig,
    new: PreferenceConfig | ExplainerConfig,
    may_change: frozenset[str],
    run: Path,
) -> None:
    """Raise `ConfigError` for the first setting that an update may not change and that differs."""
    own_values, new_values = own.model_dump(), new.model_dump()
    for name, value in own_values.items():
        if name not in may_change and new_values[name] != value:
            raise ConfigError(
                f"{step}.{name}={new_values[name]}: {run} was trained with {value}, and an update keeps its model; "
                "leave the setting out, or train a new run without --update"
            )


def with_source(card: RunCard, source: UpdateSource, is_new: bool) -> RunCard:
    """Return the requested card of an update; what the user left out is as in the run that it starts from.

    Args:
        card: with the settings that the user gave; its config is None if there are none.
        source: the run that the update starts from.
        is_new: whether the update is to be started, not gone on with.
    """
    base_model = card.base_model or source.card.base_model
    if not is_new:  # without settings, the update keeps its own
        return replace(card, base_model=base_model if card.config else card.base_model)
    config = card.config or source.settings
    return replace(card, preset=source.card.preset, base_model=base_model, config=config, updated_from=source.record())
