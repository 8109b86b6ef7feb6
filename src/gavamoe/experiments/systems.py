"""Any system of a comparison by its name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from gavamoe.baselines import simple as trivial
from gavamoe.baselines.base import Predictions, System, TrainingSummary
from gavamoe.baselines.data import TextData
from gavamoe.baselines.matrix_factorisation import require_cornac
from gavamoe.baselines.rating_system import RatingSystem
from gavamoe.baselines.registry import RATING_SYSTEMS, TEXT_SYSTEMS
from gavamoe.conditions import Condition, given_column
from gavamoe.data.scale import RatingScale
from gavamoe.errors import ConfigError
from gavamoe.experiments.ablations import ablations, settings_of, trained_by
from gavamoe.experiments.config import OURS, Recipe
from gavamoe.experiments.gavamoe import Gavamoe, PreferenceRatings
from gavamoe.explainer import build

TRIVIAL: dict[str, Callable[[pl.DataFrame, RatingScale, int], trivial.System]] = {
    "item-mode": lambda train, scale, seed: trivial.ItemMode.fit(train, scale),
    "random-sentence": trivial.RandomSentence.fit,
    "bias": lambda train, scale, seed: trivial.Biases.fit(train, scale),
    "mean": lambda train, scale, seed: trivial.GlobalMean.fit(train, scale),
}
WRITE_NOTHING = {"bias", "mean"}
STAGE1 = "preference"
VARIANT_NAME = re.compile(r"\w[\w.+-]*")  # results lie in a directory of that name


class Trivial:
    """A baseline that counts, of the evaluation's own."""

    inputs: frozenset[str] = frozenset()

    def __init__(self, name: str):
        self.name = name

    def fit(self, data: TextData, seed: int, directory: Path) -> TrainingSummary:
        """As `System.fit`."""
        started = time.perf_counter()
        self.load(data, seed, directory)
        return TrainingSummary(0, time.perf_counter() - started)

    def load(self, data: TextData, seed: int, directory: Path) -> None:
        """As `System.load`: counted anew."""
        self.system_ = TRIVIAL[self.name](data.dataset.interactions("train"), data.scale, seed)

    def predict(self, pairs: pl.DataFrame, condition: Condition) -> Predictions:
        """As `System.predict`."""
        texts, ratings = self.system_.predict(pairs)
        return Predictions(None if self.name in WRITE_NOTHING else texts, ratings)


def make(name: str, recipe: Recipe, seed: int, parameters: int) -> System:
    """The system, not yet trained; baselines from scratch are sized to `parameters`."""
    changed = settings_of(name, recipe)
    if changed is not None:
        return Gavamoe(recipe.config(seed, changed), recipe.preset, recipe.base_model, trained_by(name, recipe))
    if name == STAGE1:
        return RatingSystem(partial(PreferenceRatings, config=recipe.config(seed).preference))
    if name in TEXT_SYSTEMS:
        return TEXT_SYSTEMS[name](parameters)
    return RATING_SYSTEMS[name]() if name in RATING_SYSTEMS else Trivial(name)


def check_names(recipe: Recipe) -> None:
    """`ConfigError` for a model that nobody knows."""
    named = [OURS, *ablations(recipe.config(0).explainer)]
    others = [STAGE1, *TEXT_SYSTEMS, *RATING_SYSTEMS, *TRIVIAL]
    for name in recipe.variants:
        if name in (*named, *others) or not VARIANT_NAME.fullmatch(name):
            raise ConfigError(
                f"variants: '{name}' is the name of a system, or no name for a directory; choose another, of letters, "
                "digits and - _ . +"
            )
    ours = [*named, *recipe.variants]
    known = [*ours, *others]
    for name in recipe.models:
        if name not in known:
            raise ConfigError(f"there is no model '{name}'; choose among {', '.join(known)}")
    for name in ours:
        recipe.config(0, settings_of(name, recipe))


def check_ready(recipe: Recipe, reviews: pl.DataFrame, conditions: Sequence[Condition]) -> None:
    """Find now what would stop a system when its turn comes, perhaps after hours; `InputError` says what."""
    told = {fact for name in recipe.models for fact in make(name, recipe, 0, 0).inputs}
    for fact in sorted(told):
        if any(getattr(condition, fact) == "given" for condition in conditions):
            given_column(reviews, fact)
    if "mf" in recipe.models:
        require_cornac()
    for name in recipe.models:
        changed = settings_of(name, recipe)
        if changed is None:
            continue
        config = recipe.config(0, changed)
        config.explainer.resolve_defaults(base=recipe.base_model is not None)
        if recipe.base_model is not None:
            build.check_base(recipe.base_model, config.explainer, config.preference.clusters)
