"""A damaged file of a comparison gives one line that names it, and two comparisons cannot share a directory."""

import shutil

import pytest
from helpers.damages import DAMAGES

from gavamoe.errors import InputError, RunError
from gavamoe.experiments.compare import run
from gavamoe.experiments.config import CompareConfig
from gavamoe.files import only_one_process

CONFIG = CompareConfig(models=["bias", "random-sentence"], seeds=1, preset="tiny", conditions=[{}])


@pytest.fixture(scope="module")
def comparison(dataset_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("damaged") / "comparison"
    run(dataset_path, out, CONFIG, "valid")
    return out


def resume_error(data, out):
    """Return the message with which a comparison refuses to go on, or an empty one; other exceptions pass."""
    try:
        run(data, out, CONFIG, "valid", resume=True)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damaged_file_of_a_comparison_is_named_or_harmless(comparison, dataset_path, tmp_path, damage):
    files = sorted(p.relative_to(comparison) for p in comparison.rglob("*") if p.is_file())
    # The tables and plots are written anew each time: all of them are damaged together.
    written_anew = [path for path in files if path.parts[0] == "plots" or path.stem == "results"]
    errors = {}
    for damaged in (written_anew, *([path] for path in files if path not in written_anew)):
        copy = shutil.copytree(comparison, tmp_path / "copy")
        for path in damaged:
            (copy / path).write_bytes(DAMAGES[damage]((copy / path).read_bytes()))
        errors[damaged[0]] = resume_error(dataset_path, copy)
        shutil.rmtree(copy)
    refused = {path: error for path, error in errors.items() if error}
    assert {"compare.yaml", "result.json"} <= {path.name for path in refused}
    assert {path for path in files if path.name == "result.json"} <= refused.keys()
    assert written_anew[0] not in refused
    assert all(path.name in error and "\n" not in error for path, error in refused.items())


def test_a_second_comparison_in_a_directory_is_refused_while_the_first_one_runs(comparison, dataset_path):
    with only_one_process(comparison, "comparing in"), pytest.raises(RunError, match="another process is comparing in"):
        run(dataset_path, comparison, CONFIG, "valid", resume=True)
    assert run(dataset_path, comparison, CONFIG, "valid", resume=True)


def test_a_comparison_that_is_refused_leaves_no_directory(dataset_path, tmp_path):
    with pytest.raises(InputError):
        run(dataset_path, tmp_path / "new", CONFIG, "valid", resume=True)
    assert not (tmp_path / "new").exists()
