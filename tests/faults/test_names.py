"""Names of features, columns, files and directories are data: never patterns, globs or columns of a table."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from gavamoe.conditions import Condition
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.data.simulate import World, simulate
from gavamoe.explainer.explainer import Explainer
from gavamoe.pipeline.diagnose import diagnose_run
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.report import write_run_report
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

FEATURES = ["cluster", "*", "^.*$", "line", "split", "user", "feature", "share", "literal"]
COLUMNS = {"line": 7, "^.*$": "x", "*": 1, "_row": 3, "count": 2, "key": "k"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, tiny_config) -> Path:
    """A directory whose names are patterns, with reviews, a dataset and a run of odd features and columns."""
    here = tmp_path_factory.mktemp("odd") / "a[ b]*{c}"
    here.mkdir()
    rows = simulate(World(users=30, items=15, reviews=300, clusters=3)).to_dicts()
    odd = [{**row, "feature": FEATURES[n % len(FEATURES)], **COLUMNS} for n, row in enumerate(rows)]
    (here / "r[1].jsonl").write_text("\n".join(map(json.dumps, odd)))
    prepare([str(here / "r[1].jsonl")], here / "data[1]", PrepareOptions())
    short = {stage: {"epochs": 1} for stage in ("preference", "explainer")}
    config = tiny_config.model_copy(
        update={stage: getattr(tiny_config, stage).model_copy(update=change) for stage, change in short.items()}
    )
    train_run(here / "data[1]", here / "run[1]", config)
    return here


@pytest.mark.slow
def test_every_command_works_with_odd_names(odd):
    run = RunDirectory(odd / "run[1]")
    for data, limit in ((None, 6), (odd / "r[1].jsonl", 4)):
        comparison, explainer = evaluate_run(run, data, "test", Condition(), limit=limit)
        write_run_report(run, comparison, explainer)
    diagnosis = diagnose_run(run.path, odd / "diagnosis[1]")
    assert len(diagnosis["clusters"]) == 3
    assert run.report.is_file()


def test_a_file_of_pairs_with_odd_features_and_columns(odd):
    pairs, out = odd / "pairs[1].jsonl", odd / ("x" * 200 + ".parquet")
    pairs.write_text("\n".join(json.dumps({"user": "u01", "item": "i03", "feature": f, **COLUMNS}) for f in FEATURES))
    explain_file(Explainer.from_pretrained(odd / "run[1]"), pairs, out, Condition(feature="given"))
    assert pl.read_parquet(out, glob=False)["feature"].to_list() == FEATURES


def test_a_file_with_a_name_of_200_letters_is_prepared(odd):
    source = odd / ("y" * 200 + ".jsonl")
    source.write_bytes((odd / "r[1].jsonl").read_bytes())
    card = prepare([str(source)], odd / ("z" * 200))
    assert card["sources"][0]["name"] == source.name
