"""The comparison: one trial per system and seed, no work repeated, oracles apart, tables that agree with the trials."""

import copy
import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from helpers.checkpoints import save_base
from helpers.streams import prepare_splits
from transformers import GenerationConfig

from gavamoe.baselines import simple
from gavamoe.baselines.data import TextData
from gavamoe.baselines.registry import SystemContext, registered_systems
from gavamoe.baselines.trainer import _Trainer
from gavamoe.config import ExplainerConfig
from gavamoe.data.dataset import ReviewDataset
from gavamoe.data.prepare import PrepareOptions, prepare
from gavamoe.errors import ConfigError, DataError, RunError
from gavamoe.evaluation.score_file import score_file
from gavamoe.evaluation.significance import Difference
from gavamoe.experiments import gavamoe as gavamoe_system
from gavamoe.experiments.aggregate import max_p_over_seeds
from gavamoe.experiments.compare import run
from gavamoe.experiments.config import CompareConfig, Variant, load_compare_config
from gavamoe.experiments.grids import groups_grid
from gavamoe.experiments.prompted import check_prompted, examples_of, literal
from gavamoe.experiments.systems import SystemSpec
from gavamoe.explainer.explainer import Explainer
from gavamoe.language.prompt import PromptFields
from gavamoe.language.template import PromptTemplate, read_source
from gavamoe.moe.gate import cluster_gates
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

pytestmark = pytest.mark.slow  # every system is trained with two seeds


@pytest.fixture(scope="module")
def config():
    return CompareConfig(
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
def tables(dataset_path, config, out):
    return run(dataset_path, out, config, "valid")


def test_every_system_has_a_result_and_every_metric_is_the_mean_of_its_trials(tables, out):
    assert [result.model for result in tables[0].results] == list(MODELS)
    for result in tables[0].results:
        files = [out / "systems" / result.model / f"seed-{seed}" / CONDITION / "result.json" for seed in range(2)]
        results = [json.loads(file.read_text()) for file in files]
        for metric, summary in result.metrics.items():
            assert list(summary.values) == [result["metrics"][metric] for result in results]
            assert summary.mean == pytest.approx(np.mean(summary.values))
            assert summary.spread == pytest.approx(np.std(summary.values, ddof=1))


def test_data_without_validation_reviews_is_refused_before_anything_is_trained(tmp_path):
    rows = [
        (f"u{n}", f"i{n % 5 + k}", 1 + n % 5, split) for n in range(40) for k, split in enumerate(("train", "test"))
    ]
    reviews = pl.DataFrame(rows, schema=["user", "item", "rating", "split"], orient="row")
    data = prepare_splits(reviews, tmp_path / "data")
    with pytest.raises(DataError, match="has no validation reviews, which a comparison needs"):
        run(data, tmp_path / "table", CompareConfig(models=("lightgcn", "mean"), seeds=1), "test")
    assert not (tmp_path / "table").exists()


def test_a_system_without_texts_has_no_text_metrics(tables):
    results = {result.model: result for result in tables[0].results}
    assert set(results["lightgcn"].metrics) == {"RMSE", "MAE"}
    assert {"BLEU-4", "USR", "RMSE", "feature hallucination", "rep-2"} <= set(results["gavamoe"].metrics)


def test_oracle_tables_come_last_and_have_only_systems_with_true_inputs(tables):
    assert [table.condition.oracle for table in tables] == [False, True]
    assert {result.model: result.inputs for result in tables[1].results} == {
        "gavamoe": {"rating": "given", "feature": "given"},
        "nrt": {"rating": "given"},
        "peter+": {"feature": "given"},
        "eight": {"rating": "given", "feature": "given"},
    }


def test_each_system_is_tested_against_the_subject_and_the_best_of_the_others_is_no_ablation(tables):
    table = tables[0]
    assert table.subject == "gavamoe"
    for result in table.results:
        assert (result.metrics["MAE"].p is None) == (result.model == "gavamoe")
    assert {result.model for result in table.best_of_others.values()} <= set(MODELS) - {"gavamoe", "eight"}
    rmse = {result.model: result.metrics["RMSE"].mean for result in table.results if not result.is_gavamoe}
    assert table.best_of_others["RMSE"].model == min(rmse, key=rmse.get)


def test_baselines_have_about_the_parameters_of_gavamoe(tables):
    sizes = {result.model: result.training["parameters"] for result in tables[0].results}
    for name in ("nrt", "peter+"):
        assert sizes[name] == pytest.approx(sizes["gavamoe"], rel=0.3)


def test_a_group_of_users_has_the_mean_of_its_trials(tables, out):
    grid = groups_grid(tables[0], "RMSE")
    (cells,) = [cells for model, cells in grid.rows if model == "nrt"]
    results = [json.loads((out / f"systems/nrt/seed-{s}" / CONDITION / "result.json").read_text()) for s in range(2)]
    of_seeds = [result["groups"]["training reviews of the user"] for result in results]
    assert grid.columns[1:] == list(of_seeds[0])
    for group, cell in zip(grid.columns[1:], cells, strict=True):
        assert cell.text == f"{np.mean([of_seed[group]['metrics']['RMSE'] for of_seed in of_seeds]):.3f}"


def test_metrics_of_the_right_item_and_user_stand_beside_floor_and_ceiling(tables, out):
    models = tables[0].to_dict()["models"]
    bounds = [models[name]["metrics"]["user_identifiability"] for name in ("gavamoe", "item-mode")]
    assert bounds[0].keys() == {"mean", "spread", "p", "floor", "ceiling"}
    assert bounds[0]["ceiling"] == bounds[1]["ceiling"] > bounds[0]["floor"]
    assert "floor" not in models["gavamoe"]["metrics"]["BLEU-4"]
    assert "ceiling, from people's texts" in (out / "results.md").read_text()


def test_the_result_files_agree_and_mark_the_oracle(tables, out):
    with (out / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "BLEU-4"]
    assert len(rows) == sum("BLEU-4" in result.metrics for table in tables for result in table.results)
    shown = {result.model: result.metrics["BLEU-4"].mean for result in tables[0].results if "BLEU-4" in result.metrics}
    assert {r["model"]: float(r["mean"]) for r in rows if r["oracle"] == "false"} == pytest.approx(shown)
    page = (out / "results.html").read_text()
    for text in ((out / "results.md").read_text(), page):
        assert text.index("rating predicted, feature predicted") < text.index("Oracle: rating given, feature given")
        assert f"{tables[0].results[0].metrics['RMSE'].mean:.3f} ± " in text
    assert page.count("<svg") == 2  # by sparsity, and by the number of experts
    tex = (out / "results.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 18
    assert not {"±", "†", "↑", "–"} & set(tex)


def test_predictions_can_be_scored_with_gavamoe_score(tables, out):
    where = out / "systems/nrt/seed-0" / CONDITION
    scored = score_file(where / "predictions.jsonl", normalized=True)["metrics"]
    assert scored["RMSE"] == pytest.approx(json.loads((where / "result.json").read_text())["metrics"]["RMSE"])


def test_finished_trials_are_not_repeated_and_systems_can_be_added(tables, out, dataset_path, config, monkeypatch):
    created = []
    create = SystemSpec.create
    monkeypatch.setattr(SystemSpec, "create", lambda spec, *rest: created.append(spec.name) or create(spec, *rest))
    more = config.model_copy(update={"models": (*MODELS, "random-sentence")})
    stamps = {path: path.stat().st_mtime_ns for path in (out / "systems").rglob("*") if path.is_file()}
    again = run(dataset_path, out, more, "valid", resume=True)
    assert again[0].results[-1].model == "random-sentence"
    assert [path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp] == []
    assert set(created) == {"random-sentence"}


def test_another_split_needs_no_training(tables, out, dataset_path, config, monkeypatch):
    def no_training(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("gavamoe.experiments.gavamoe.train_run", no_training)
    monkeypatch.setattr("gavamoe.baselines.neural.train", no_training)
    few = config.model_copy(update={"models": ("gavamoe", "nrt"), "seeds": 1})
    assert run(dataset_path, out, few, "test", resume=True)[0].split == "test"


def test_a_killed_comparison_resumes(dataset_path, config, tmp_path, monkeypatch):
    few = config.model_copy(update={"models": ("item-mode", "nrt"), "seeds": 1})

    def killed(self, phase):
        raise KeyboardInterrupt

    epoch = _Trainer._run_epoch
    monkeypatch.setattr(_Trainer, "_run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        run(dataset_path, tmp_path / "table", few, "valid")
    assert not (tmp_path / "table/results.csv").exists()
    monkeypatch.setattr(_Trainer, "_run_epoch", epoch)
    table, _ = run(dataset_path, tmp_path / "table", few, "valid", resume=True)
    assert [result.model for result in table.results] == ["item-mode", "nrt"]


def test_a_system_with_the_same_input_under_two_conditions_predicts_once(dataset_path, config, tmp_path, monkeypatch):
    calls = []
    predict = simple.ItemMode.predict
    monkeypatch.setattr(simple.ItemMode, "predict", lambda *given: calls.append(given) or predict(*given))
    both = ({"feature": "none"}, {"feature": "predicted"})
    tables = run(dataset_path, tmp_path / "t", CompareConfig(models=("item-mode",), seeds=1, conditions=both), "valid")
    assert len(calls) == 1
    assert tables[0].results[0].metrics == tables[1].results[0].metrics


def test_variants_that_differ_in_decoding_alone_are_trained_once(dataset_path, config, tmp_path, monkeypatch):
    trained = []
    train = gavamoe_system.train_run
    monkeypatch.setattr(
        gavamoe_system, "train_run", lambda *given, **named: trained.append(given) or train(*given, **named)
    )
    models = ("gavamoe", "gavamoe-drafts-alone", "greedy", "eight")
    variants = {"greedy": {"set": {"explainer.temperature": 0}}, **config.variants}
    run(
        dataset_path,
        tmp_path / "t",
        CompareConfig(models=models, seeds=1, preset="tiny", settings=SETTINGS, variants=variants),
    )
    assert len(trained) == 2
    runs = {model: tmp_path / "t/systems" / model / "seed-0/run" for model in models}
    weights = {model: (path / "explainer/model.safetensors").read_bytes() for model, path in runs.items()}
    assert weights["gavamoe"] == weights["gavamoe-drafts-alone"] == weights["greedy"] != weights["eight"]
    decoding = {model: GenerationConfig.from_pretrained(path / "explainer") for model, path in runs.items()}
    assert [decoding[model].heard for model in models[:2]] == [16, 0]
    assert not decoding["greedy"].do_sample
    assert RunDirectory(runs["greedy"]).read_card().settings.explainer.temperature == 0


def test_an_oracle_condition_that_no_system_uses_has_no_table(dataset_path, tmp_path):
    both = ({}, {"rating": "given", "feature": "given"})
    config = CompareConfig(models=("bias", "item-mode"), seeds=1, conditions=both)
    assert [table.condition.oracle for table in run(dataset_path, tmp_path / "t", config, "valid")] == [False]


def test_a_directory_of_another_comparison_is_refused(tables, out, dataset_path, config, tmp_path):
    with pytest.raises(RunError, match="already holds files"):
        run(dataset_path, out, config, "valid")
    with pytest.raises(RunError, match="no comparison"):
        run(dataset_path, tmp_path / "new", config, "valid", resume=True)
    anew = shutil.copytree(dataset_path, tmp_path / "anew")
    run(anew, tmp_path / "t", CompareConfig(models=("bias",), seeds=1), "valid")
    prepare([str(dataset_path.parent / "reviews.jsonl.gz")], anew, PrepareOptions(seed=9))
    with pytest.raises(ConfigError, match="begun with another digest of the data"):
        run(anew, tmp_path / "t", CompareConfig(models=("bias",), seeds=1), "valid", resume=True)
    other = config.model_copy(update={"settings": {**SETTINGS, "explainer.epochs": 2}})
    with pytest.raises(ConfigError, match="begun with another settings"):
        run(dataset_path, out, other, "valid", resume=True)


def test_a_changed_variant_is_refused_on_resume(tables, out, dataset_path, config):
    changed = config.model_copy(update={"variants": {"eight": Variant(set={"explainer.experts": 16})}})
    with pytest.raises(ConfigError, match="begun with another variant 'eight'"):
        run(dataset_path, out, changed, "valid", resume=True)


@pytest.mark.parametrize("name", ["peter", "gavamoe", "../wide", ""])
def test_a_variant_may_not_have_the_name_of_a_system(dataset_path, tmp_path, name):
    config = CompareConfig(models=("bias",), variants={name: {"set": {"explainer.experts": 8}}})
    with pytest.raises(ConfigError, match=f"'{name}' is the name of a system, or no name"):
        run(dataset_path, tmp_path / "t", config, "valid")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"base_model": "nowhere/none"}, "nowhere"),
        ({"settings": {**SETTINGS, "explainer.initialisation": "partition"}}, "starts from a --base-model"),
    ],
)
def test_invalid_settings_are_found_before_anything_is_written(dataset_path, config, tmp_path, changed, words):
    with pytest.raises(ConfigError, match=words):
        run(dataset_path, tmp_path / "t", config.model_copy(update=changed), "valid")
    assert not (tmp_path / "t").exists()


def test_a_missing_true_feature_is_an_error_only_for_systems_that_use_it(dataset_path, tmp_path, monkeypatch):
    interactions = ReviewDataset.interactions
    blank = pl.lit(None, dtype=pl.String).alias("feature")
    monkeypatch.setattr(ReviewDataset, "interactions", lambda *given: interactions(*given).with_columns(blank))
    oracle = ({"feature": "given"}, {})
    with pytest.raises(DataError, match="feature=given needs a column feature"):
        run(dataset_path, tmp_path / "t", CompareConfig(models=("bias", "peter+"), seeds=1, conditions=oracle), "valid")
    assert not (tmp_path / "t").exists()
    run(dataset_path, tmp_path / "t", CompareConfig(models=("bias",), seeds=1, conditions=oracle), "valid")


def test_p_is_one_where_the_seeds_disagree_on_the_direction():
    def of_seed(first, second, p):
        return {"FCR": Difference(first, second, None, p, "randomisation")}

    assert max_p_over_seeds([of_seed(0.3, 0.2, 0.001), of_seed(0.4, 0.2, 0.02)]) == {"FCR": 0.02}
    assert max_p_over_seeds([of_seed(0.3, 0.2, 0.001), of_seed(0.2, 0.4, 0.001)]) == {"FCR": 1.0}


def test_a_metric_that_one_seed_lacks_is_left_out(tables, out, dataset_path, config, tmp_path):
    table = shutil.copytree(out, tmp_path / "t")
    trial = table / "systems/nrt/seed-0" / CONDITION / "result.json"
    result = json.loads(trial.read_text())
    for metrics in (result["metrics"], *(group["metrics"] for group in next(iter(result["groups"].values())).values())):
        del metrics["BLEU-4"]
    trial.write_text(json.dumps(result))
    results = {result.model: result for result in run(dataset_path, table, config, "valid", resume=True)[0].results}
    assert "BLEU-4" not in results["nrt"].metrics
    assert "BLEU-4" in results["peter+"].metrics


def test_an_unknown_value_of_a_group_is_not_marked_as_best(tables):
    table = copy.deepcopy(tables[0])
    group = next(iter(table.results[0].groups))
    for result in table.results:
        result.groups[group].pop("BLEU-4", None)
    grid = groups_grid(table, "BLEU-4")
    assert not any(cells[0].best for _, cells in grid.rows)


def test_unknown_models_and_settings_are_refused_before_anything_is_written(dataset_path, tmp_path):
    with pytest.raises(ConfigError, match=r"no model 'bert'; choose among gavamoe, .*peter"):
        run(dataset_path, tmp_path / "t", CompareConfig(models=("bert",)), "valid")
    with pytest.raises(ConfigError, match=r"explainer\.expertise"):
        load_compare_config(None, settings={"explainer.expertise": 3})
    with pytest.raises(ConfigError, match="named once each"):
        load_compare_config(None, models=("peter", "peter"))
    assert not (tmp_path / "t").exists()


@pytest.fixture(scope="module")
def prompted(dataset_path, tmp_path_factory):
    """Return a comparison of the untrained base model and plain LoRA on a few reviews: its tables and its directory."""
    directory = tmp_path_factory.mktemp("prompted")
    base = save_base(directory / "base", chat=True)
    settings = SETTINGS | {"explainer.max_reviews": 12, "explainer.prompt_tokens": 120}
    config = CompareConfig(
        models=["zero-shot", "few-shot", "lora", "pepler"],
        seeds=1,
        preset="tiny",
        base_model=base,
        settings=settings,
        limit=6,
    )
    return run(dataset_path, directory / "out", config, "valid"), directory / "out"


def test_a_base_model_is_compared_without_training_and_with_plain_lora(prompted):
    (table,), _ = prompted
    results = {result.model: result for result in table.results}
    assert table.n == 6
    stated = {"rating": "predicted", "feature": "predicted"}
    assert all(results[name].inputs.items() >= stated.items() for name in ("zero-shot", "few-shot", "lora"))
    rmse = {name: results[name].metrics["RMSE"].mean for name in ("zero-shot", "few-shot", "lora")}
    assert len(set(rmse.values())) == 1  # stage 1 predicts the ratings of all three
    assert results["zero-shot"].training["tokens"] == 0 < results["lora"].training["tokens"]


def test_plain_lora_has_neither_experts_nor_vectors_of_the_pair(prompted):
    _, out = prompted
    explainer = Explainer.from_pretrained(out / "systems/lora/seed-0/run")
    assert list(cluster_gates(explainer.model)) == []
    users = explainer.catalog.user_names[1:3]
    pairs = [(user, explainer.catalog.item_names[1]) for user in users]
    vectors = explainer.model.user_token(torch.tensor([1, 2]))
    assert [explanation.experts for explanation in explainer.explain_batch(pairs, experts=True)] == [None, None]
    with pytest.raises(ConfigError, match="no experts"):
        explainer.expert_report(pl.DataFrame({"user": users, "item": users, "text": ["good"] * 2}))
    torch.testing.assert_close(vectors[0], vectors[1])


def test_examples_show_training_reviews_literally_and_no_soft_token_stands_in_a_prompt(dataset_path, prompted):
    dataset = ReviewDataset.load(dataset_path)
    _, out = prompted
    reviews = dataset.interactions("train").head(3).with_columns(text=pl.lit("50 {% of {{ it }} #}"))
    context = Explainer.from_pretrained(out / "systems/lora/seed-0/run").context
    examples = examples_of(reviews, context, 2, seed=0)
    source = "\n\n".join([*map(literal, examples), read_source("natural")])
    template = PromptTemplate(source, dataset.scale.in_words(), 500, soft_tokens=False)
    prompt = template.render(PromptFields(1, name="A film"), "<user>", "<item>")
    assert prompt.endswith("Item: A film\nRating: 1 of 5 stars\nReview:"), prompt
    assert prompt.count("50 {% of {{ it }} #}") == 2
    assert "<user>" not in prompt
    assert "<item>" not in prompt


def test_the_untrained_base_model_needs_a_base_model():
    with pytest.raises(ConfigError, match="--base-model"):
        check_prompted(SystemContext(CompareConfig().run_config()))


def test_max_reviews_limits_what_every_system_learns_from(dataset_path):
    config = ExplainerConfig(max_reviews=10)
    data = TextData.from_dataset(ReviewDataset.load(dataset_path), config)
    drawn = [replace(data, seed=seed).corpus_vocabulary for seed in (0, 0, 1)]
    assert [len(vocabulary.train) for vocabulary in drawn] == [10, 10, 10]
    assert len(drawn[0].valid) == 2
    texts = [vocabulary.train.texts for vocabulary in drawn]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "setting", [{"item_features": 4}, {"reconstructs": "ratings+words"}, {"choose_clusters": "bic"}]
)
def test_stage_1_alone_is_refused_with_settings_that_it_does_not_follow(setting):
    config = CompareConfig().run_config()
    changed = config.model_copy(update={"preference": config.preference.model_copy(update=setting)})
    check = registered_systems()["preference"].check
    check(SystemContext(config))
    with pytest.raises(ConfigError, match=f"preference.{next(iter(setting))}"):
        check(SystemContext(changed))
