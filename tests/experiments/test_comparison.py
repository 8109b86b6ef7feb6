"""The comparison: every system once a seed, nothing done twice, oracles apart, tables that say what the cells say."""

import copy
import csv
import json
import shutil

import numpy as np
import polars as pl
import pytest
from transformers import GenerationConfig

from gavamoe.baselines.trainer import _Training
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.errors import ConfigError, DataError, RunError
from gavamoe.evaluation.score_file import score_file
from gavamoe.evaluation.significance import Difference
from gavamoe.experiments import gavamoe as ours
from gavamoe.experiments import systems
from gavamoe.experiments.aggregate import max_p_over_seeds
from gavamoe.experiments.compare import run
from gavamoe.experiments.config import Recipe, Variant, load_recipe
from gavamoe.experiments.grids import groups_grid
from gavamoe.run import RunDirectory

SETTINGS = {
    "preference.clusters": 3,
    "preference.pretrain_epochs": 2,
    "preference.epochs": 2,
    "preference.restarts": 1,
    "explainer.hidden": 32,
    "explainer.heads": 2,
    "explainer.vocabulary": 400,
    "explainer.expert_width": 32,
    "explainer.soft_token_width": 8,
    "explainer.epochs": 1,
    "explainer.max_tokens": 16,
}
MODELS = ("gavamoe", "nrt", "peter+", "lightgcn", "item-mode", "eight")
CONDITION = "valid/rating-predicted_feature-predicted"


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        models=MODELS,
        seeds=2,
        preset="tiny",
        settings=SETTINGS,
        conditions=[{"rating": "given", "feature": "given"}, {}],
        variants={"eight": {"set": {"explainer.experts": 8}}},
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison") / "table"


@pytest.fixture(scope="module")
def tables(dataset_path, recipe, out):
    return run(dataset_path, out, recipe, "valid")


def test_every_system_has_its_line_and_every_figure_is_the_mean_of_its_cells(tables, out):
    assert [line.model for line in tables[0].lines] == list(MODELS)
    for line in tables[0].lines:
        files = [out / "systems" / line.model / f"seed-{seed}" / CONDITION / "result.json" for seed in range(2)]
        results = [json.loads(file.read_text()) for file in files]
        for metric, figure in line.figures.items():
            assert list(figure.values) == [result["metrics"][metric] for result in results]
            assert figure.mean == pytest.approx(np.mean(figure.values))
            assert figure.spread == pytest.approx(np.std(figure.values, ddof=1))


def test_a_system_without_texts_has_no_figures_of_texts(tables):
    lines = {line.model: line for line in tables[0].lines}
    assert set(lines["lightgcn"].figures) == {"RMSE", "MAE"}
    assert {"BLEU-4", "USR", "RMSE", "feature hallucination", "rep-2"} <= set(lines["gavamoe"].figures)


def test_oracles_come_last_and_hold_only_those_who_are_told_the_truth(tables):
    assert [table.condition.oracle for table in tables] == [False, True]
    assert {line.model: line.told for line in tables[1].lines} == {
        "gavamoe": {"rating": "given", "feature": "given"},
        "nrt": {"rating": "given"},
        "peter+": {"feature": "given"},
        "eight": {"rating": "given", "feature": "given"},
    }


def test_the_subject_is_tested_against_each_and_the_best_of_the_others_is_no_ablation(tables):
    table = tables[0]
    assert table.subject == "gavamoe"
    for line in table.lines:
        assert (line.figures["MAE"].p is None) == (line.model == "gavamoe")
    assert {line.model for line in table.best.values()} <= set(MODELS) - {"gavamoe", "eight"}
    rmse = {line.model: line.figures["RMSE"].mean for line in table.lines if not line.ours}
    assert table.best["RMSE"].model == min(rmse, key=rmse.get)


def test_baselines_are_as_large_as_ours(tables):
    sizes = {line.model: line.training["parameters"] for line in tables[0].lines}
    for name in ("nrt", "peter+"):
        assert sizes[name] == pytest.approx(sizes["gavamoe"], rel=0.3)


def test_a_group_of_users_has_the_mean_of_its_cells(tables, out):
    grid = groups_grid(tables[0], "RMSE")
    (line,) = [entries for model, entries in grid.rows if model == "nrt"]
    results = [json.loads((out / f"systems/nrt/seed-{s}" / CONDITION / "result.json").read_text()) for s in range(2)]
    of_seeds = [result["groups"]["training reviews of the user"] for result in results]
    assert grid.columns[1:] == list(of_seeds[0])
    for group, entry in zip(grid.columns[1:], line, strict=True):
        assert entry.text == f"{np.mean([of_seed[group]['metrics']['RMSE'] for of_seed in of_seeds]):.3f}"


def test_the_files_say_the_same_and_mark_the_oracle(tables, out):
    with (out / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "BLEU-4"]
    assert len(rows) == sum("BLEU-4" in line.figures for table in tables for line in table.lines)
    shown = {line.model: line.figures["BLEU-4"].mean for line in tables[0].lines if "BLEU-4" in line.figures}
    assert {r["model"]: float(r["mean"]) for r in rows if r["oracle"] == "false"} == pytest.approx(shown)
    page = (out / "results.html").read_text()
    for text in ((out / "results.md").read_text(), page):
        assert text.index("rating predicted, feature predicted") < text.index("Oracle: rating given, feature given")
        assert f"{tables[0].lines[0].figures['RMSE'].mean:.3f} ± " in text
    assert page.count("<svg") == 2  # by sparsity, and by the number of experts
    tex = (out / "results.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 16
    assert not {"±", "†", "↑", "–"} & set(tex)


def test_predictions_can_be_scored_by_anyone(tables, out):
    where = out / "systems/nrt/seed-0" / CONDITION
    scored = score_file(where / "predictions.jsonl", normalized=True)["metrics"]
    assert scored["RMSE"] == pytest.approx(json.loads((where / "result.json").read_text())["metrics"]["RMSE"])


def test_what_is_finished_is_not_done_again_and_more_can_be_added(tables, out, dataset_path, recipe, monkeypatch):
    made = []
    make = systems.make
    monkeypatch.setattr("gavamoe.experiments.compare.make", lambda name, *rest: made.append(name) or make(name, *rest))
    more = recipe.model_copy(update={"models": (*MODELS, "random-sentence")})
    stamps = {path: path.stat().st_mtime_ns for path in (out / "systems").rglob("*") if path.is_file()}
    again = run(dataset_path, out, more, "valid", resume=True)
    assert again[0].lines[-1].model == "random-sentence"
    assert [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp] == []
    # Those who have no place in the oracle's table are asked whether they have one, and nothing more.
    assert set(made) == {"lightgcn", "item-mode", "random-sentence"}


def test_another_split_needs_no_training(tables, out, dataset_path, recipe, monkeypatch):
    def no_training(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("gavamoe.experiments.gavamoe.train_run", no_training)
    monkeypatch.setattr("gavamoe.baselines.neural.train", no_training)
    few = recipe.model_copy(update={"models": ("gavamoe", "nrt"), "seeds": 1})
    assert run(dataset_path, out, few, "test", resume=True)[0].split == "test"


def test_a_killed_comparison_goes_on(dataset_path, recipe, tmp_path, monkeypatch):
    few = recipe.model_copy(update={"models": ("item-mode", "nrt"), "seeds": 1})

    def killed(self, phase):
        raise KeyboardInterrupt

    epoch = _Training._epoch
    monkeypatch.setattr(_Training, "_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(dataset_path, tmp_path / "table", few, "valid")
    assert not (tmp_path / "table/results.csv").exists()
    monkeypatch.setattr(_Training, "_epoch", epoch)
    table, _ = run(dataset_path, tmp_path / "table", few, "valid", resume=True)
    assert [line.model for line in table.lines] == ["item-mode", "nrt"]


def test_a_system_that_is_told_the_same_under_two_conditions_is_asked_once(dataset_path, recipe, tmp_path, monkeypatch):
    asked = []
    predict = systems.Trivial.predict
    monkeypatch.setattr(systems.Trivial, "predict", lambda *given: asked.append(given) or predict(*given))
    both = ({"feature": "none"}, {"feature": "predicted"})
    tables = run(dataset_path, tmp_path / "t", Recipe(models=("item-mode",), seeds=1, conditions=both), "valid")
    assert len(asked) == 1
    assert tables[0].lines[0].figures == tables[1].lines[0].figures


def test_what_differs_in_decoding_alone_is_trained_once(dataset_path, recipe, tmp_path, monkeypatch):
    trained = []
    train = ours.train_run
    monkeypatch.setattr(ours, "train_run", lambda *given, **named: trained.append(given) or train(*given, **named))
    models = ("gavamoe", "gavamoe-drafts-alone", "greedy", "eight")
    variants = {"greedy": {"set": {"explainer.temperature": 0}}, **recipe.variants}
    run(
        dataset_path,
        tmp_path / "t",
        Recipe(models=models, seeds=1, preset="tiny", settings=SETTINGS, variants=variants),
    )
    assert len(trained) == 2
    runs = {model: tmp_path / "t/systems" / model / "seed-0/run" for model in models}
    weights = {model: (path / "explainer/model.safetensors").read_bytes() for model, path in runs.items()}
    assert weights["gavamoe"] == weights["gavamoe-drafts-alone"] == weights["greedy"] != weights["eight"]
    decoding = {model: GenerationConfig.from_pretrained(path / "explainer") for model, path in runs.items()}
    assert [decoding[model].heard for model in models[:2]] == [16, 0]
    assert not decoding["greedy"].do_sample
    assert RunDirectory(runs["greedy"]).read_card().settings.explainer.temperature == 0


def test_an_oracle_that_nobody_is_told_has_no_table(dataset_path, tmp_path):
    both = ({}, {"rating": "given", "feature": "given"})
    recipe = Recipe(models=("bias", "item-mode"), seeds=1, conditions=both)
    assert [table.condition.oracle for table in run(dataset_path, tmp_path / "t", recipe, "valid")] == [False]


def test_a_directory_is_not_taken_over(tables, out, dataset_path, recipe, tmp_path):
    with pytest.raises(RunError, match="already holds files"):
        run(dataset_path, out, recipe, "valid")
    with pytest.raises(RunError, match="no comparison"):
        run(dataset_path, tmp_path / "new", recipe, "valid", resume=True)
    anew = shutil.copytree(dataset_path, tmp_path / "anew")
    run(anew, tmp_path / "t", Recipe(models=("bias",), seeds=1), "valid")
    prepare([str(dataset_path.parent / "reviews.jsonl.gz")], anew, PrepareOptions(seed=9))
    with pytest.raises(ConfigError, match="begun with another digest of the data"):
        run(anew, tmp_path / "t", Recipe(models=("bias",), seeds=1), "valid", resume=True)
    other = recipe.model_copy(update={"settings": {**SETTINGS, "explainer.epochs": 2}})
    with pytest.raises(ConfigError, match="begun with another settings"):
        run(dataset_path, out, other, "valid", resume=True)


def test_a_variant_that_has_changed_is_not_mistaken_for_the_one_that_is_finished(tables, out, dataset_path, recipe):
    changed = recipe.model_copy(update={"variants": {"eight": Variant(set={"explainer.experts": 16})}})
    with pytest.raises(ConfigError, match="begun with another variant 'eight'"):
        run(dataset_path, out, changed, "valid", resume=True)


@pytest.mark.parametrize("name", ["peter", "gavamoe", "../wide", ""])
def test_a_variant_has_a_name_of_its_own(dataset_path, tmp_path, name):
    recipe = Recipe(models=("bias",), variants={name: {"set": {"explainer.experts": 8}}})
    with pytest.raises(ConfigError, match=f"'{name}' is the name of a system, or no name"):
        run(dataset_path, tmp_path / "t", recipe, "valid")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"base_model": "nowhere/none"}, "nowhere"),
        ({"settings": {**SETTINGS, "explainer.initialisation": "partition"}}, "starts from a --base-model"),
    ],
)
def test_what_would_stop_a_system_is_found_before_anything_is_written(dataset_path, recipe, tmp_path, changed, words):
    with pytest.raises(ConfigError, match=words):
        run(dataset_path, tmp_path / "t", recipe.model_copy(update=changed), "valid")
    assert not (tmp_path / "t").exists()


def test_a_truth_that_the_data_lacks_stops_only_those_who_are_told_it(dataset_path, tmp_path, monkeypatch):
    interactions = ReviewDataset.interactions
    blank = pl.lit(None, dtype=pl.String).alias("feature")
    monkeypatch.setattr(ReviewDataset, "interactions", lambda *given: interactions(*given).with_columns(blank))
    oracle = ({"feature": "given"}, {})
    with pytest.raises(DataError, match="feature=given needs a column feature"):
        run(dataset_path, tmp_path / "t", Recipe(models=("bias", "peter+"), seeds=1, conditions=oracle), "valid")
    assert not (tmp_path / "t").exists()
    run(dataset_path, tmp_path / "t", Recipe(models=("bias",), seeds=1, conditions=oracle), "valid")


def test_a_difference_holds_only_where_the_seeds_agree_on_its_direction():
    def of_seed(first, second, p):
        return {"FCR": Difference(first, second, None, p, "randomisation")}

    assert max_p_over_seeds([of_seed(0.3, 0.2, 0.001), of_seed(0.4, 0.2, 0.02)]) == {"FCR": 0.02}
    assert max_p_over_seeds([of_seed(0.3, 0.2, 0.001), of_seed(0.2, 0.4, 0.001)]) == {"FCR": 1.0}


def test_a_metric_that_one_seed_was_not_scored_with_is_left_out(tables, out, dataset_path, recipe, tmp_path):
    table = shutil.copytree(out, tmp_path / "t")
    trial = table / "systems/nrt/seed-0" / CONDITION / "result.json"
    result = json.loads(trial.read_text())
    for metrics in (result["metrics"], *(group["metrics"] for group in next(iter(result["groups"].values())).values())):
        del metrics["BLEU-4"]
    trial.write_text(json.dumps(result))
    lines = {line.model: line for line in run(dataset_path, table, recipe, "valid", resume=True)[0].lines}
    assert "BLEU-4" not in lines["nrt"].figures
    assert "BLEU-4" in lines["peter+"].figures


def test_what_is_not_known_of_a_group_is_not_its_best(tables):
    table = copy.deepcopy(tables[0])
    group = next(iter(table.lines[0].groups))
    for line in table.lines:
        line.groups[group].pop("BLEU-4", None)
    grid = groups_grid(table, "BLEU-4")
    assert not any(entries[0].best for _, entries in grid.rows)


def test_models_and_settings_that_nobody_knows_are_refused_before_anything_is_done(dataset_path, tmp_path):
    with pytest.raises(ConfigError, match=r"no model 'bert'; choose among gavamoe, .*peter"):
        run(dataset_path, tmp_path / "t", Recipe(models=("bert",)), "valid")
    with pytest.raises(ConfigError, match=r"explainer\.expertise"):
        load_recipe(None, settings={"explainer.expertise": 3})
    with pytest.raises(ConfigError, match="named once each"):
        load_recipe(None, models=("peter", "peter"))
    assert not (tmp_path / "t").exists()
