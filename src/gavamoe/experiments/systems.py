"""The systems of a comparison, resolved once from their names.

CompareConfig.models -> resolve_systems -> [SystemSpec, ...] -> compare, aggregate, plots, tables
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from gavamoe.baselines.base import System
from gavamoe.baselines.registry import RegisteredSystem, SystemContext, SystemFactory, registered_systems
from gavamoe.baselines.user_systems import class_name, directory_name, is_reference, load_user_system
from gavamoe.conditions import Condition, given_column
from gavamoe.config import RunConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError, DataError
from gavamoe.experiments.ablations import check_gavamoe, create_gavamoe
from gavamoe.experiments.config import GAVAMOE, RATING_MODELS, CompareConfig, Variant
from gavamoe.experiments.gavamoe import GavamoeSystem
from gavamoe.language.decoding_config import DECODING_SETTINGS

VARIANT_NAME = re.compile(r"\w[\w.+-]*")  # it names a directory too


@dataclass(frozen=True)
class SystemSpec:
    """A system of a comparison.

    Args:
        name: as tables show it.
        directory: name of the directory that its trials are in.
        factory: makes the untrained system from a context.
        inputs: the fields of a condition that it can use as input.
        settings: for GaVaMoE and its variants, the settings that it changes; None for a baseline.
        context: for the factory; its configuration has seed 0 and includes `settings`.
        check: raises `InputError` for what would stop the system.
        needs_texts: whether it learns from texts.
    """

    name: str
    directory: str
    factory: SystemFactory
    inputs: frozenset[str]
    settings: dict[str, Any] | None
    context: SystemContext
    check: Callable[[SystemContext], None]
    needs_texts: bool

    @property
    def config(self) -> RunConfig:
        """The configuration of the system with seed 0."""
        return self.context.config

    @property
    def reuse_weights_from(self) -> str | None:
        """The directory of an earlier system with the same weights: only their decoding differs."""
        return self.context.reuse_weights_from

    @property
    def is_gavamoe(self) -> bool:
        """Whether the system is GaVaMoE or a variant of it."""
        return self.settings is not None

    def create(self, seed: int, parameters: int) -> System:
        """Return the untrained system; a network from scratch gets about that many parameters."""
        config = self.config.model_copy(update={"seed": seed})
        return self.factory(replace(self.context, config=config, parameters=parameters))

    def belongs_in(self, condition: Condition) -> bool:
        """Return whether the system is in the condition's table; in an oracle's, if it gets a true fact as input."""
        return not condition.oracle or "given" in condition.told(self.inputs).values()


def resolve_systems(config: CompareConfig) -> list[SystemSpec]:
    """Return the systems of a comparison, in the order of its models.

    Raises:
        ConfigError: a model is unknown, the name of a variant is taken, or a setting is not valid.
    """
    named = _named_systems(config)
    base = config.run_config()
    # The settings of every variant are checked, even of those that are not compared.
    settings = {name: found.settings(base) for name, found in named.items() if found.settings is not None}
    configs = {name: config.run_config(changed) for name, changed in settings.items()}
    specs: list[SystemSpec] = []
    for name in config.models:
        if is_reference(name):
            found, shown, directory = load_user_system(name), class_name(name), directory_name(name)
        elif name in named:
            found, shown, directory = named[name], name, name
        else:
            raise ConfigError(f"there is no model '{name}'; choose among {', '.join(named)}, or FILE.py:CLASS")
        if any(shown == spec.name or directory == spec.directory for spec in specs):
            raise ConfigError(f"two models are called {shown}; rename one of the classes")
        run_config = configs.get(name, base)
        context = SystemContext(run_config, config.preset, config.base_model)
        if found.settings is not None:
            context = replace(context, reuse_weights_from=_same_weights(run_config, specs))
        inputs, changed = found.inputs, settings.get(name)
        if found.settings is not None and run_config.explainer.prompt_in_words(config.base_model is not None):
            inputs = inputs | {"context"}
        specs.append(
            SystemSpec(shown, directory, found.factory, inputs, changed, context, found.check, found.needs_texts)
        )
    return specs


def subject_of(specs: Sequence[SystemSpec]) -> SystemSpec:
    """Return the system that the others are tested against: gavamoe where it is compared, else the first."""
    return next((spec for spec in specs if spec.name == GAVAMOE), specs[0])


def check_splits(dataset: ReviewDataset) -> None:
    """Check that there are reviews to train on and to validate on: systems choose settings and epochs on the latter.

    Raises:
        DataError: there are none.
    """
    for name, split in (("training", "train"), ("validation", "valid")):
        if not dataset.splits[split]:
            raise DataError(
                f"{dataset.path} has no {name} reviews, which a comparison needs; prepare the data with --split "
                "random, or with a column that names the splits"
            )


def check_texts(specs: Sequence[SystemSpec], dataset: ReviewDataset) -> None:
    """Check that the dataset has the texts that systems learn from.

    Raises:
        DataError: a split lacks texts; names the systems and a comparison that needs none.
    """
    learning = [spec.name for spec in specs if spec.needs_texts]
    lacking = [split for split in ("train", "valid") if not dataset.has_texts(split)]
    if learning and lacking:
        raise DataError(
            f"{dataset.path} has no {lacking[0]} reviews with text, and {', '.join(learning)} "
            f"{'learn' if len(learning) > 1 else 'learns'} from texts; compare rating systems instead: "
            f"--models {','.join(RATING_MODELS)} (and mf)"
        )


def check_systems(specs: Sequence[SystemSpec], reviews: pl.DataFrame, conditions: Sequence[Condition]) -> None:
    """Check before any training what would stop a system when its turn comes, perhaps hours later.

    Raises:
        InputError: the reviews lack a fact that a condition gives, a library is missing, or settings do not fit.
    """
    for field in sorted({field for spec in specs for field in spec.inputs}):
        if any(getattr(condition, field) == "given" for condition in conditions):
            given_column(reviews, field)
    for spec in specs:
        spec.check(spec.context)


def _named_systems(config: CompareConfig) -> dict[str, RegisteredSystem]:
    """Return all systems that have a name: GaVaMoE and its ablations, the comparison's variants, the baselines."""
    registered = registered_systems()
    family = {name: found for name, found in registered.items() if found.settings is not None}
    others = {name: found for name, found in registered.items() if found.settings is None}
    variants: dict[str, RegisteredSystem] = {}
    for name, variant in config.variants.items():
        if name in registered or not VARIANT_NAME.fullmatch(name):
            raise ConfigError(
                f"variants: '{name}' is the name of a system, or no name for a directory; choose another, of letters, "
                "digits and - _ . +"
            )
        variants[name] = RegisteredSystem(
            create_gavamoe, GavamoeSystem.inputs, partial(_settings_of, variant), check_gavamoe
        )
    return {**family, **variants, **others}


def _settings_of(variant: Variant, config: RunConfig) -> dict[str, Any]:
    """Return the settings of a variant, which do not depend on those of the comparison."""
    return dict(variant.set)


def _same_weights(config: RunConfig, earlier: Sequence[SystemSpec]) -> str | None:
    """Return the directory of an earlier variant of GaVaMoE that differs in decoding alone, if there is one."""
    trained = _training_settings(config)
    same = (spec for spec in earlier if spec.is_gavamoe and _training_settings(spec.config) == trained)
    return next((spec.directory for spec in same), None)


def _training_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that weights depend on."""
    return config.model_dump(exclude={"explainer": set(DECODING_SETTINGS)})
