"""Every file of a run, a dataset and an unfinished training, damaged in eight ways: one line that names it, or no harm.

No harm means that the command's result is the one of the undamaged files, or that it names nothing wrong because it
does not read the file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.damages import DAMAGES
from helpers.runs import unsealed_copy
from helpers.weights import assert_same_weights
from safetensors.torch import load_file

from gavamoe.conditions import Condition
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import InputError
from gavamoe.explainer import train as stage2
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.evaluate import load_reviews
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

pytestmark = pytest.mark.timeout(1200)
# A resumed training takes seconds for each file, so not every damage is tried.
RESUMED_AFTER = ("empty", "half", "list")
UNSEALED_AFTER = ("empty", "half", "noise", "null")


def damage_each(source: Path, copy: Path, damage: str, use: Callable[[Path], object]) -> dict[str, object]:
    """Damage one file after the other, and return what `use` returned, or the InputError that it raised, by file."""
    results: dict[str, object] = {}
    for path in sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file()):
        shutil.copytree(source, copy)
        (copy / path).write_bytes(DAMAGES[damage]((source / path).read_bytes()))
        try:
            results[path.as_posix()] = use(copy)
        except InputError as error:
            results[path.as_posix()] = error
        shutil.rmtree(copy)
    return results


def named(name: str, error: object) -> bool:
    """Return whether an error is one line that names the file, or the folder that holds it."""
    return "\n" not in str(error) and (Path(name).name in str(error) or f"/{Path(name).parts[0]}" in str(error))


@pytest.fixture(scope="module")
def expected(run_path, dataset_path):
    return explain(run_path, dataset_path)


def explain(run: Path, dataset: Path) -> object:
    """Return what a run answers: texts, ratings and clusters of five pairs, with evidence."""
    explainer = Explainer.from_pretrained(run)
    rows = load_reviews(RunDirectory(run), explainer.catalog, dataset, "test").frame.head(5)
    return [explanation.to_dict() for explanation in explainer.explain_batch(rows, Condition(), evidence=2)]


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_of_a_run_is_named_or_harmless(run_path, dataset_path, expected, tmp_path, damage):
    results = damage_each(run_path, tmp_path / "run", damage, lambda run: explain(run, dataset_path))
    refused = {name: error for name, error in results.items() if isinstance(error, InputError)}
    assert {"run.yaml", "catalog/users.parquet", "explainer/model.safetensors", "manifest.json"} <= refused.keys()
    assert [name for name, error in refused.items() if not named(name, error)] == []
    assert [name for name in results.keys() - refused.keys() if results[name] != expected] == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", UNSEALED_AFTER)
def test_every_damaged_file_of_a_run_without_a_seal_is_one_line(run_path, dataset_path, tmp_path, damage):
    source = unsealed_copy(run_path, tmp_path / "unsealed")
    results = damage_each(source, tmp_path / "run", damage, lambda run: explain(run, dataset_path))
    refused = {name: error for name, error in results.items() if isinstance(error, InputError)}
    assert "run.yaml" in refused  # without a seal, damage can look like another value
    assert [name for name, error in refused.items() if "\n" in str(error)] == []


def read_dataset(path: Path) -> object:
    dataset = ReviewDataset.load(path)
    splits = {split: dataset.interactions(split).to_dicts() for split in ("train", "valid", "test")}
    catalog = dataset.catalog
    return splits, catalog.users.to_dicts(), catalog.items.to_dicts(), catalog.features, list(catalog.scale.values)


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_of_a_dataset_is_named_or_harmless(dataset_path, tmp_path, damage):
    whole = read_dataset(dataset_path)
    results = damage_each(dataset_path, tmp_path / "data", damage, read_dataset)
    refused = {name: error for name, error in results.items() if isinstance(error, InputError)}
    assert {"interactions.parquet", "users.parquet", "items.parquet"} <= refused.keys()
    assert [name for name, error in refused.items() if not named(name, error)] == []
    assert [name for name in results.keys() - refused.keys() if results[name] != whole] == []


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module", params=["stage 1", "stage 2"])
def unfinished(request, dataset_path, tiny_config, tmp_path_factory):
    """A training that was killed in stage 1, or after the last epoch of stage 2, with all of its checkpoints."""
    run = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "stage 1":
            from gavamoe.preference.model import PreferenceModel

            patch.setattr(PreferenceModel, "save_pretrained", _die)
        else:
            patch.setattr(stage2.TrainedExplainer, "save", _die)
        with pytest.raises(KilledError):
            train_run(dataset_path, run, tiny_config, preset="tiny")
    return run


def _die(*_: object, **__: object) -> None:
    raise KilledError


@pytest.mark.slow
@pytest.mark.parametrize("damage", RESUMED_AFTER)
def test_every_damaged_file_of_an_unfinished_training_is_named_or_harmless(
    unfinished, run_path, dataset_path, tmp_path, damage
):
    def resume(run: Path) -> str:
        train_run(dataset_path, run, resume=True)
        for part in ("preference", "explainer"):
            weights = [load_file(path / part / "model.safetensors") for path in (run, run_path)]
            assert_same_weights(*weights)
        return "same"

    results = damage_each(unfinished, tmp_path / "run", damage, resume)
    refused = {name: error for name, error in results.items() if isinstance(error, InputError)}
    assert "run.yaml" in refused
    assert [name for name, error in refused.items() if not named(name, error)] == []
