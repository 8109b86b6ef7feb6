"""The whole comparison: every system with every seed, then tables and pictures. What is finished is not done again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gavamoe.baselines.data import TextData
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError, RunError
from gavamoe.experiments.ablations import settings_of
from gavamoe.experiments.aggregate import Table, table_of
from gavamoe.experiments.config import Recipe
from gavamoe.experiments.eval_set import EvalSet
from gavamoe.experiments.gavamoe import parameters_of
from gavamoe.experiments.systems import check_names, check_ready, make
from gavamoe.experiments.tables import write_tables
from gavamoe.experiments.trial import Trial, complete
from gavamoe.files import staged_file

CARD, VARIANTS = "compare.yaml", "variants"


def run(
    data: Path,
    out: Path,
    recipe: Recipe,
    split: str = "test",
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[Table]:
    """Run or resume the comparison in the directory `out`; a table a condition, oracles last.

    Models, variants, seeds, conditions and the split may be added to a comparison that is there; its data and settings
    stay.

    Raises:
        InputError: in one line, what of data, recipe or directory cannot be used.
    """
    dataset = ReviewDataset.load(data)
    check_names(recipe)
    eval_set = EvalSet.of(dataset, split)
    conditions = sorted((entry.condition for entry in recipe.conditions), key=lambda condition: condition.oracle)
    check_ready(recipe, eval_set.reviews, conditions)
    config = recipe.config(0)
    text_data = TextData(dataset, config.explainer, recipe.base_model)
    parameters = parameters_of(text_data, config)
    _open(out, dataset, recipe, resume)
    trials = {
        model: [Trial(out / "systems" / model / f"seed-{seed}", model, seed) for seed in range(recipe.seeds)]
        for model in recipe.models
    }
    # Seed by seed, so that a comparison that is not finished has every system once.
    for seed in range(recipe.seeds):
        for model in recipe.models:
            on_note(f"{model}, seed {seed}")
            complete(
                trials[model][seed], partial(make, model, recipe, seed, parameters), text_data, eval_set, conditions
            )
    ours = {model for model in recipe.models if settings_of(model, recipe) is not None}
    tables = [table_of(trials, ours, recipe.subject, condition, eval_set) for condition in conditions]
    tables = [table for table in tables if table.lines]  # an oracle's has none where nobody is told the truth
    write_tables(out, tables, recipe)
    return tables


def _open(out: Path, dataset: ReviewDataset, recipe: Recipe, resume: bool) -> None:
    """A new directory, or one that holds this comparison; else one line that says why not."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; choose another --out")
    card = {"data": str(dataset.path.resolve()), "digest of the data": dataset.digest, **_fixed(recipe)}
    variants = {name: dict(variant.set) for name, variant in recipe.variants.items() if name in recipe.models}
    if out.is_dir() and any(out.iterdir()):
        if not resume:
            raise RunError(f"{out} already holds files; go on with --resume, or choose another --out")
        variants = {**_begun_variants(out, card, variants), **variants}
    elif resume:
        raise RunError(f"there is no comparison at {out} to resume; leave out --resume")
    with staged_file(out / CARD) as staged:
        written = {**card, VARIANTS: variants}
        staged.write_text(yaml.safe_dump(written, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _begun_variants(out: Path, card: dict[str, Any], variants: dict[str, Any]) -> dict[str, Any]:
    """The variants of the comparison in `out`, once it is found to be the one that `card` and `variants` describe."""
    if not (out / CARD).is_file():
        raise RunError(f"{out} holds no comparison to resume: {CARD} is missing; choose another --out")
    begun = yaml.safe_load((out / CARD).read_text(encoding="utf-8"))
    differing = [key for key in card if begun.get(key) != card[key]]
    if differing:
        raise ConfigError(f"{out} was begun with another {differing[0]}; choose another --out for it")
    kept: dict[str, Any] = begun.get(VARIANTS, {})
    for name in variants.keys() & kept.keys():
        if variants[name] != kept[name]:
            raise ConfigError(f"{out} was begun with another variant '{name}'; give the new one a name of its own")
    return kept


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """What all cells must share."""
    return recipe.model_dump(include={"preset", "base_model", "settings"})
