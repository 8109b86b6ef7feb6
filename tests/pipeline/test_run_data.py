"""The data of a run: found where the run says, or missing with the reason and the option that names it."""

import shutil

import pytest

from gavamoe.data.catalog import Catalog
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.errors import DataError
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.diagnosed_run import DiagnosedRun
from gavamoe.pipeline.evaluate import load_reviews
from gavamoe.pipeline.run_data import find_dataset, require_dataset
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory


@pytest.fixture
def run(dataset_path, run_path, tmp_path):
    """A run of stage 1 whose data may be changed."""
    data = tmp_path / "data"
    shutil.copytree(dataset_path, data)
    train_run(data, tmp_path / "run", RunDirectory(run_path).read_card().config, stage="preference")
    return RunDirectory(tmp_path / "run")


def refused(run, match):
    """Check that an evaluation and a diagnosis refuse the run's data, and that other readers do without it."""
    catalog = Catalog.load(run.catalog)
    assert find_dataset(run, catalog) is None
    for use in (
        lambda: require_dataset(run, catalog),
        lambda: load_reviews(run, catalog, None, "test"),
        lambda: DiagnosedRun.open(run.path),
    ):
        with pytest.raises(DataError, match=match) as raised:
            use()
        assert "--data" in str(raised.value)


def test_the_data_of_a_run_is_found_where_the_run_says(run):
    catalog = Catalog.load(run.catalog)
    for dataset in (require_dataset(run, catalog), find_dataset(run, catalog)):
        assert str(dataset.path) == run.read_card().data


def test_data_that_was_moved_or_prepared_anew_is_refused_with_the_option_that_names_it(run, reviews_file, tmp_path):
    (tmp_path / "data").rename(tmp_path / "moved")
    refused(run, "is not at .* any more")
    assert DiagnosedRun.open(run.path, tmp_path / "moved").dataset.path == tmp_path / "moved"
    prepare([str(reviews_file)], tmp_path / "data", PrepareOptions(seed=1))
    refused(run, "was prepared anew")


def test_an_exported_run_takes_no_dataset_of_the_same_name_in_the_current_directory(
    dataset_path, run_path, tmp_path, monkeypatch
):
    Explainer.from_pretrained(run_path).save_pretrained(tmp_path / "exported")
    exported = RunDirectory(tmp_path / "exported")
    shutil.copytree(dataset_path, tmp_path / exported.read_card().data)
    monkeypatch.chdir(tmp_path)
    refused(exported, "came without its data")
