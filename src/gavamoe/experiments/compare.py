"""A whole comparison: every system with every seed, then tables and plots; finished trials are not repeated.

CompareConfig -> SystemSpecs -> trials (train, evaluate) -> a Table per condition -> result files
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError
from gavamoe.experiments.aggregate import Table, make_table
from gavamoe.experiments.config import CompareConfig
from gavamoe.experiments.directory import DATA, earlier_card, only_experiment, write_card
from gavamoe.experiments.gavamoe import count_parameters
from gavamoe.experiments.systems import SystemSpec, check_splits, check_systems, check_texts, resolve_systems
from gavamoe.experiments.tables import write_tables
from gavamoe.experiments.trial import Trial, complete_trial
from gavamoe.files import reading
from gavamoe.pipeline.eval_set import EvalSet

CARD, VARIANTS = "compare.yaml", "variants"


def run(
    data: Path,
    out: Path,
    config: CompareConfig,
    split: str = "test",
    resume: bool = False,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[Table]:
    """Run or resume a comparison and write its result files.

    Models, variants, seeds, conditions and the split may be added to an existing comparison. Its data and settings
    may not change.

    Args:
        data: a prepared dataset.
        out: directory of the comparison.
        config: systems, seeds, conditions and settings.
        split: the split to evaluate on.
        resume: continue the comparison in `out`.
        on_note: called with a line before each trial.

    Returns:
        A table per condition; oracles are last, and those that no system belongs to are left out.

    Raises:
        InputError: data, configuration or directory cannot be used, or another process compares in the directory.
    """
    dataset = ReviewDataset.load(data)
    specs = resolve_systems(config)
    check_splits(dataset)
    check_texts(specs, dataset)
    eval_set = EvalSet.from_dataset(dataset, split, config.limit)
    conditions = sorted((entry.condition for entry in config.conditions), key=lambda condition: condition.oracle)
    check_systems(specs, eval_set.reviews, conditions)
    run_config = config.run_config()
    text_data = TextData.from_dataset(dataset, run_config.explainer, config.base_model)
    # Networks for texts are as large as GaVaMoE; without texts there is no such network, and no vocabulary to count.
    parameters = count_parameters(text_data, run_config) if dataset.has_texts("train") else 0
    with only_experiment(out, "comparing in"):
        _open(out, dataset, config, resume)
        return _complete(out, config, specs, parameters, text_data, eval_set, conditions, on_note)


def _complete(
    out: Path,
    config: CompareConfig,
    specs: list[SystemSpec],
    parameters: int,
    text_data: TextData,
    eval_set: EvalSet,
    conditions: list[Condition],
    on_note: Callable[[str], None],
) -> list[Table]:
    """Complete the trials that are missing, and write the tables."""
    trials = {
        spec.name: [
            Trial(out / "systems" / spec.directory / f"seed-{seed}", spec.name, seed) for seed in range(config.seeds)
        ]
        for spec in specs
    }
    # Seed by seed, so that an unfinished comparison has every system at least once.
    for seed in range(config.seeds):
        for spec in specs:
            on_note(f"{spec.name}, seed {seed}")
            complete_trial(trials[spec.name][seed], spec, parameters, text_data, eval_set, conditions)
    tables = [make_table(specs, trials, condition, eval_set) for condition in conditions]
    tables = [table for table in tables if table.results]
    write_tables(out, tables, specs)
    return tables


def _open(out: Path, dataset: ReviewDataset, config: CompareConfig, resume: bool) -> None:
    """Write the card of a new comparison, or check that the directory holds this one; `InputError` says why not."""
    card = {
        DATA: str(dataset.path.resolve()),
        "digest of the data": dataset.digest,
        **config.model_dump(include={"preset", "base_model", "settings", "limit"}),
    }
    variants = {name: dict(variant.set) for name, variant in config.variants.items() if name in config.models}
    earlier = earlier_card(out / CARD, card, resume, "comparison")
    if earlier is not None:
        variants = {**_earlier_variants(out / CARD, earlier, variants), **variants}
    write_card(out / CARD, {**card, VARIANTS: variants})


def _earlier_variants(path: Path, earlier: dict[str, Any], variants: dict[str, Any]) -> dict[str, Any]:
    """Return the variants of an earlier card; check that those of the same name are the same."""
    with reading(path):
        earlier_variants: dict[str, Any] = dict(earlier[VARIANTS])
    for name in variants.keys() & earlier_variants.keys():
        if variants[name] != earlier_variants[name]:
            raise ConfigError(
                f"{path.parent} was begun with another variant '{name}'; give the new one a name of its own"
            )
    return earlier_variants
