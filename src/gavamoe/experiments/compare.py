"""A whole comparison: every system with every seed, then tables and plots; finished trials are not repeated.

CompareConfig -> SystemSpecs -> trials (train, evaluate) -> a Table per condition -> result files
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from gavamoe.baselines.data import TextData
from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import ConfigError, RunError
from gavamoe.experiments.aggregate import Table, make_table
from gavamoe.experiments.config import CompareConfig
from gavamoe.experiments.gavamoe import count_parameters
from gavamoe.experiments.systems import SystemSpec, check_systems, check_texts, resolve_systems
from gavamoe.experiments.tables import write_tables
from gavamoe.experiments.trial import Trial, complete_trial
from gavamoe.files import is_temporary, only_one_process, reading, remove_abandoned, staged_file
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
    check_texts(specs, dataset)
    eval_set = EvalSet.from_dataset(dataset, split, config.limit)
    conditions = sorted((entry.condition for entry in config.conditions), key=lambda condition: condition.oracle)
    check_systems(specs, eval_set.reviews, conditions)
    run_config = config.run_config()
    text_data = TextData.from_dataset(dataset, run_config.explainer, config.base_model)
    # Networks for texts are as large as GaVaMoE; without texts there is no such network, and no vocabulary to count.
    parameters = count_parameters(text_data, run_config) if dataset.has_texts("train") else 0
    with _only_comparison(out):
        _open(out, dataset, config, resume)
        return _complete(out, config, specs, parameters, text_data, eval_set, conditions, on_note)


@contextmanager
def _only_comparison(out: Path) -> Iterator[None]:
    """Hold the lock of a comparison, and delete what killed comparisons left; a new directory is removed if empty."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; choose another --out")
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with only_one_process(out, "comparing in"):
            remove_abandoned(out)
            yield
    finally:
        if is_new:
            with suppress(OSError):
                out.rmdir()


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
        "data": str(dataset.path.resolve()),
        "digest of the data": dataset.digest,
        **config.model_dump(include={"preset", "base_model", "settings", "limit"}),
    }
    variants = {name: dict(variant.set) for name, variant in config.variants.items() if name in config.models}
    if not all(is_temporary(path) for path in out.iterdir()):
        if not resume:
            raise RunError(f"{out} already holds files; go on with --resume, or choose another --out")
        variants = {**_earlier_variants(out, card, variants), **variants}
    elif resume:
        raise RunError(f"there is no comparison at {out} to resume; leave out --resume")
    with staged_file(out / CARD) as staged:
        content = {**card, VARIANTS: variants}
        staged.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _earlier_variants(out: Path, card: dict[str, Any], variants: dict[str, Any]) -> dict[str, Any]:
    """Check that `out` holds the comparison that `card` and `variants` describe; return its variants."""
    if not (out / CARD).is_file():
        raise RunError(f"{out} holds no comparison to resume: {CARD} is missing; choose another --out")
    with reading(out / CARD):
        earlier = {"limit": None, **yaml.safe_load((out / CARD).read_text(encoding="utf-8"))}
        earlier_variants: dict[str, Any] = dict(earlier[VARIANTS])
        differing = [key for key in card if earlier[key] != card[key]]
    if differing:
        raise ConfigError(f"{out} was begun with another {differing[0]}; choose another --out for it")
    for name in variants.keys() & earlier_variants.keys():
        if variants[name] != earlier_variants[name]:
            raise ConfigError(f"{out} was begun with another variant '{name}'; give the new one a name of its own")
    return earlier_variants
