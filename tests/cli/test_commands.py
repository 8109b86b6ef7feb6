"""The commands as scripts call them: JSON keys, exit codes, one line per error."""

import gzip
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest
import torch
from helpers.runs import unsealed_copy

from gavamoe.data.dataset import ReviewDataset
from gavamoe.preference.model import PreferenceModel
from gavamoe.presets.auto import auto_settings
from gavamoe.run import RunDirectory

EXPLAIN_KEYS = {"user", "item", "text", "rating", "cluster", "responsibilities", "experts", "cold_user", "cold_item"}
ROUGE = {f"rouge_{n}/{part}_score" for n in "12l" for part in "frp"}
METRICS = {"BLEU-1", "BLEU-4", "USR", "USN", "FMR", "FCR", "DIV", "Distinct-1", "Distinct-2", "RMSE", "MAE"} | ROUGE
# Metrics of the right item and user; null where they cannot be measured.
PAIR_METRICS = {"item_identifiability", "user_identifiability", "swap_gap_user", "swap_gap_item", "statement_precision"}
PAIR_METRICS |= {"statement_recall", "sentence_rank_mrr", "fluency", "genericness"}


@pytest.fixture
def own_run(run_path, tmp_path):
    """A copy, because evaluate writes into the run."""
    return shutil.copytree(run_path, tmp_path / "run")


def refused(result, *words):
    code, out, err = result
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    for word in words:
        assert word in err
    return True


def test_explain_prints_one_object_with_its_keys(gavamoe, run_path):
    code, out, _ = gavamoe("explain", run_path, "--user", "u01", "--item", "i01", "--json")
    assert code == 0
    assert json.loads(out).keys() >= EXPLAIN_KEYS


def test_explain_reports_an_unknown_user_and_still_writes_a_text(gavamoe, run_path):
    code, out, err = gavamoe("explain", run_path, "--user", "nobody", "--item", "i01", "--json")
    assert code == 0
    assert json.loads(out)["cold_user"] is True
    assert "user 'nobody' has no training review" in err


def test_explain_says_that_drafts_of_a_greedy_run_are_equal(gavamoe, explainer, run_path, monkeypatch):
    monkeypatch.setattr(explainer, "decoding", explainer.decoding.with_options(temperature=0))
    monkeypatch.setattr("gavamoe.explainer.explainer.Explainer.from_pretrained", lambda *arguments: explainer)
    one = ("explain", run_path, "--user", "u01", "--item", "i01", "--json")
    (code, many, err), alone = gavamoe(*one, "--candidates", 8), gavamoe(*one, "--candidates", 1)
    assert (code, json.loads(many)) == (0, json.loads(alone.stdout))
    assert "--candidates 8 has no effect: the run does not sample" in err
    assert alone.stderr == ""


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_explain_writes_a_file_in_the_order_of_its_pairs(gavamoe, run_path, tmp_path, suffix):
    pairs = pl.DataFrame({"user": ["u03", "u01", "new"], "item": ["i02", "i01", "i05"]})
    pairs.write_csv(tmp_path / "pairs.csv")
    out = tmp_path / f"texts.{suffix}"
    code, printed, _ = gavamoe("explain", run_path, "--pairs", tmp_path / "pairs.csv", "--out", out, "--json")
    assert code == 0
    assert json.loads(printed)["n"] == 3
    table = {"parquet": pl.read_parquet, "jsonl": pl.read_ndjson, "csv": pl.read_csv}[suffix](out)
    assert table["user"].to_list() == ["u03", "u01", "new"]
    assert table["cold_user"].to_list() == [False, False, True]


def test_recommend_lists_items_with_explanations(gavamoe, run_path):
    code, out, _ = gavamoe("recommend", run_path, "--user", "u01", "--top", "3", "--explain", "--json")
    assert code == 0
    result = json.loads(out)
    assert len(result["recommendations"]) == 3
    assert result["recommendations"][0].keys() >= {"item", "rating", "text", "cluster"}


def test_evaluate_prints_its_metrics_and_writes_them_into_the_run(gavamoe, own_run):
    code, out, _ = gavamoe("evaluate", own_run, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["metrics"].keys() == METRICS | PAIR_METRICS
    assert result["conditions"]["oracle"] is False
    assert result["n"] == 50
    assert json.loads((own_run / "metrics.json").read_text())["metrics"] == result["metrics"]
    rows = [json.loads(line) for line in (own_run / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 50
    assert "<svg" in (own_run / "report.html").read_text()


def test_evaluate_refuses_data_prepared_again_because_it_may_hold_training_reviews(
    gavamoe, own_run, dataset_path, tmp_path
):
    reviews = dataset_path.parent / "reviews.jsonl.gz"
    assert gavamoe("prepare", reviews, "--out", tmp_path / "anew", "--seed", "9")[0] == 0
    run = RunDirectory(own_run)
    run.write_card(replace(run.read_card(), data=str(tmp_path / "anew")))
    run.break_seal()
    assert refused(gavamoe("evaluate", own_run, "--json"), "anew", "--data", "may hold what the run has read")
    code, out, err = gavamoe("evaluate", own_run, "--data", tmp_path / "anew", "--limit", "20", "--json")
    assert code == 0
    seen = json.loads(out)["conditions"]["seen_in_training"]
    assert 8 < seen <= 20  # four of five reviews are for training
    assert f"{seen} of 20 rows are of pairs with a training review" in err


def test_evaluate_accepts_a_reviews_file_with_unknown_users_and_items(gavamoe, own_run, tmp_path):
    rows = [
        {"user": "u01", "item": "i01", "rating": 4, "text": "a fine evening , and the music is joyful ."},
        {"user": "unknown", "item": "i01", "rating": 2, "text": "not for me ."},
        {"user": "u02", "item": "unknown", "rating": 5, "text": ""},
    ]
    path = tmp_path / "new.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    code, out, _ = gavamoe("evaluate", own_run, "--data", path, "--json")
    assert code == 0
    result = json.loads(out)
    assert result["n"] == 3
    assert result["conditions"]["cold_users"] == result["conditions"]["cold_items"] == 1
    assert result["conditions"]["texts"] == 2


def test_an_oracle_is_marked_as_one(gavamoe, own_run):
    code, out, _ = gavamoe("evaluate", own_run, "--rating", "given", "--feature", "given", "--limit", "10", "--json")
    assert code == 0
    assert json.loads(out)["conditions"]["oracle"] is True
    assert json.loads(out)["n"] == 10


def test_evaluations_under_other_conditions_are_kept(gavamoe, own_run):
    gavamoe("evaluate", own_run, "--limit", "10")
    first = (own_run / "predictions.jsonl").read_bytes()
    gavamoe("evaluate", own_run, "--limit", "10", "--rating", "given")
    last = (own_run / "predictions.jsonl").read_bytes()
    kept = sorted((own_run / "evaluations").glob("*/predictions.jsonl"))
    assert first != last
    assert [path.read_bytes() for path in kept] == [last, first]
    assert [path.parent.name.split("_", 3)[3] for path in kept] == [
        "rating-given_feature-predicted",
        "rating-predicted_feature-predicted",
    ]


def test_different_reviews_in_files_of_the_same_name_get_separate_evaluations(gavamoe, own_run, tmp_path):
    before = len(list((own_run / "evaluations").glob("*")))
    for year in ("2023", "2024"):
        (tmp_path / year).mkdir()
        row = {"user": "a", "item": "b", "rating": 4, "text": f"fine in {year}"}
        (tmp_path / year / "test.jsonl").write_text(json.dumps(row))
        assert gavamoe("evaluate", own_run, "--data", tmp_path / year / "test.jsonl")[0] == 0
    assert len(list((own_run / "evaluations").glob("*"))) == before + 2


def test_predictions_of_a_run_can_be_scored_again(gavamoe, own_run):
    _, evaluated, _ = gavamoe("evaluate", own_run, "--json")
    code, out, _ = gavamoe("score", own_run / "predictions.jsonl", "--normalize", "--json")
    assert code == 0
    scored, whole = json.loads(out)["metrics"], json.loads(evaluated)["metrics"]
    assert scored["RMSE"] == pytest.approx(whole["RMSE"])
    groups, of_run = (json.loads(result)["groups"]["training reviews of the user"] for result in (out, evaluated))
    assert sum(group["n"] for group in groups.values()) == sum(group["n"] for group in of_run.values()) == 50
    assert scored["BLEU-1"] > 0  # not the same number: evaluate cuts texts, score takes them as they are


def test_simulate_then_prepare_then_train_from_the_command_line(gavamoe, tmp_path):
    world, data, run = tmp_path / "w.csv", tmp_path / "data", tmp_path / "run"
    assert (
        gavamoe("simulate", "--out", world, "--users", "20", "--items", "10", "--reviews", "120", "--clusters", "2")[0]
        == 0
    )
    assert gavamoe("prepare", world, "--out", data, "--json")[0] == 0
    small = ["--set", "preference.epochs=2", "--set", "preference.clusters=2"]
    code, out, _ = gavamoe(
        "train", data, "--out", run, "--preset", "tiny", "--stage", "preference", *small, "--seed", "3", "--json"
    )
    assert code == 0
    assert json.loads(out)["preference"]["valid_rmse"] > 0
    assert "seed: 3" in (run / "run.yaml").read_text()


def test_the_preset_auto_sets_the_epochs_by_the_size_of_the_data(gavamoe, dataset_path, tmp_path):
    run = tmp_path / "run"
    short = ["--set", "preference.pretrain_epochs=1", "--set", "preference.epochs=1"]
    done = gavamoe("train", dataset_path, "--out", run, "--preset", "auto", "--stage", "preference", *short)
    assert done.returncode == 0, done.stderr
    card = RunDirectory(run).read_card()
    reviews = ReviewDataset.load(dataset_path).count_texts("train")
    assert (card.preset, card.settings.explainer.epochs) == ("auto", auto_settings(reviews)["explainer"]["epochs"])


def test_bad_input_is_one_clear_line_and_exit_code_2(gavamoe, run_path, dataset_path, tmp_path):
    assert refused(gavamoe("recommend", run_path, "--user", "nobody"), "nobody", "no training review", "--history")
    assert refused(gavamoe("explain", tmp_path / "none", "--user", "a", "--item", "b"), "there is no run at")
    assert refused(gavamoe("explain", run_path, "--user", "a"), "either --user and --item, or --pairs and --out")
    assert refused(gavamoe("train", tmp_path / "none", "--out", tmp_path / "run"), "gavamoe prepare")
    assert refused(gavamoe("train", dataset_path, "--out", tmp_path / "run", "--preset", "huge"), "huge", "small")
    assert refused(gavamoe("train", dataset_path, "--out", tmp_path / "run", "--set", "explainer.top_k=99"), "top_k 99")
    assert refused(gavamoe("train", dataset_path, "--out", run_path), "already holds files")
    stage_2 = gavamoe("train", dataset_path, "--out", tmp_path / "run", "--stage", "explainer")
    assert refused(stage_2, "with a stage 1", "--stage preference first")
    assert not (tmp_path / "run").exists()
    assert refused(gavamoe("explain", run_path, "--user", "a", "--item", "b", "--resume"), "--pairs and --out")
    no_base = gavamoe("train", dataset_path, "--out", tmp_path / "run", "--base-model", tmp_path / "none")
    assert refused(no_base, "cannot load the base model", "local directory of a causal LM")
    assert refused(gavamoe("evaluate", run_path, "--split", "holiday"), "holiday")
    assert refused(gavamoe("evaluate", run_path, "--data", tmp_path / "none.jsonl"), "none.jsonl")
    assert refused(gavamoe("simulate", "--out", tmp_path / "w.docx"), "w.docx")
    assert refused(gavamoe("simulate", "--out", tmp_path / "w.csv", "--reviews", "99999999"), "do not fit")
    assert refused(gavamoe("train", dataset_path), "--out")
    assert not (tmp_path / "run").exists()


def test_the_engine_ray_needs_its_extra_and_a_file_of_pairs(gavamoe, run_path, tmp_path, monkeypatch):
    one = ("explain", run_path, "--user", "u01", "--item", "i01", "--engine", "ray")
    assert refused(gavamoe(*one), "--engine ray explains a file of pairs: use --pairs and --out")
    monkeypatch.setitem(sys.modules, "ray", None)
    for module in ("gavamoe.ray_cluster", "gavamoe.pipeline.ray_engine", "gavamoe.data.prepare.ray_engine"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    (tmp_path / "pairs.csv").write_text("user,item\nu01,i01\n")
    many = ("explain", run_path, "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "texts", "--engine", "ray")
    assert refused(gavamoe(*many), "ray is not installed", "pip install 'gavamoe[ray]'")
    prepare = ("prepare", tmp_path / "pairs.csv", "--out", tmp_path / "data", "--engine", "ray")
    assert refused(gavamoe(*prepare), "ray is not installed", "pip install 'gavamoe[ray]'")
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"user": "u01", "item": "i01", "text": "x"}\n', ["rating"]),
        (b'{"user": "u01", "item": "i01", "rating": 9, "text": "x"}\n', ["9"]),
        (b"", ["raw.jsonl"]),
        (b'{"user": "u01", "item"\n', ["line 1"]),
    ],
)
def test_bad_review_files_are_refused_by_evaluate(gavamoe, own_run, tmp_path, content, words):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(content)
    before = sorted(p.name for p in own_run.iterdir())
    assert refused(gavamoe("evaluate", own_run, "--data", path), *words)
    assert sorted(p.name for p in own_run.iterdir()) == before


@pytest.mark.parametrize("words", [[], ["data"]])
def test_a_group_of_commands_alone_lists_its_commands(gavamoe, words):
    code, printed, errors = gavamoe(*words)
    assert (code, errors) == (0, "")
    assert "\nCommands:\n" in printed


def test_help_imports_nothing_heavy():
    code = "import sys; from gavamoe.cli import main; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "polars", "sklearn", "matplotlib", "pydantic", "numpy"} & set(modules)


def test_diagnose_writes_a_table_and_prints_one_object(gavamoe, run_path, tmp_path):
    out = tmp_path / "diagnosis"
    code, printed, _ = gavamoe("diagnose", run_path, "--out", out, "--seeds", "1", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found["n"] == sum(one["pairs"] for one in found["clusters"])
    assert -1 <= found["stability"] <= 1
    assert json.loads((out / "clusters.json").read_text())["clusters"] == found["clusters"]
    assert "| cluster | pairs |" in (out / "clusters.md").read_text()
    assert {"name", "status", "value", "threshold", "advice"} <= found["checks"][0].keys()
    assert {path.name for path in out.iterdir()} == {"clusters.json", "clusters.md", "diagnosis.json", "report.html"}


def test_diagnose_check_exits_3_when_a_check_fails_and_0_otherwise(gavamoe, rating_run_path, tmp_path):
    code, printed, _ = gavamoe("diagnose", rating_run_path, "--out", tmp_path / "healthy", "--check")
    assert code == 0
    assert "| poor_clustering | pass |" in printed
    run = RunDirectory(unsealed_copy(rating_run_path, tmp_path / "run"))
    model = PreferenceModel.from_pretrained(run.preference)
    torch.nn.init.zeros_(model.encoder.user.offset.weight)
    model.save_pretrained(run.preference)
    code, printed, _ = gavamoe("diagnose", run.path, "--out", tmp_path / "ill", "--check")
    assert code == 3
    assert "| posterior_collapse | fail |" in printed
    assert (tmp_path / "ill/report.html").is_file()
    assert gavamoe("diagnose", run.path, "--out", tmp_path / "again")[0] == 0


def test_simulate_writes_in_styles_and_refuses_a_style_above_1(gavamoe, tmp_path):
    size = ("--users", "20", "--items", "10", "--reviews", "120", "--clusters", "2")
    plain, styled = tmp_path / "plain.csv", tmp_path / "styled.csv"
    assert gavamoe("simulate", "--out", plain, *size)[0] == 0
    code, printed, _ = gavamoe("simulate", "--out", styled, *size, "--style", "1", "--json")
    assert (code, json.loads(printed)["style"]) == (0, 1.0)
    assert plain.read_text() != styled.read_text()
    assert gavamoe("simulate", "--out", plain, *size, "--style", "1.5")[0] == 2


def test_diagnose_reports_drift_against_data_of_another_run(gavamoe, run_path, tmp_path):
    world, data, out = tmp_path / "world.jsonl.gz", tmp_path / "data", tmp_path / "out"
    assert gavamoe("simulate", "--out", world, "--users", 30, "--items", 20, "--reviews", 300, "--seed", 5)[0] == 0
    assert gavamoe("prepare", world, "--out", data)[0] == 0
    code, printed, _ = gavamoe("diagnose", run_path, "--data", data, "--out", out, "--json")
    assert code == 0
    assert {"cold_users", "rating_error"} & {check["name"] for check in json.loads(printed)["checks"]}
    assert (out / "drift.json").is_file()
    assert not (out / "report.html").exists()


def test_an_unusable_path_is_one_clear_line(gavamoe, dataset_path, tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(gavamoe("train", dataset_path, "--out", tmp_path / "file/run"), str(tmp_path / "file"))
    assert refused(gavamoe("simulate", "--out", tmp_path / "file/world.jsonl"), str(tmp_path / "file"))


def test_a_seed_too_large_for_the_libraries_is_one_clear_line(gavamoe, dataset_path, tmp_path):
    assert refused(gavamoe("train", dataset_path, "--out", tmp_path / "run", "--seed", 5 * 10**9), "seed")


def test_the_model_card_states_the_number_of_training_reviews(run_path, dataset_path):
    assert f"{ReviewDataset.load(dataset_path).splits['train']:,} reviews" in (run_path / "README.md").read_text()


def test_diagnose_without_a_run_is_one_clear_line(gavamoe, tmp_path):
    assert refused(gavamoe("diagnose", tmp_path / "none", "--out", tmp_path / "out"), "there is no run at")
    assert not (tmp_path / "out").exists()


def test_a_context_that_the_runs_prompts_cannot_state_is_refused_in_one_line(gavamoe, run_path):
    code, out, err = gavamoe("explain", run_path, "--user", "u01", "--item", "i01", "--context", "history")
    assert (code, out) == (2, "")
    assert err.strip().endswith("choose the context none")
    assert len(err.strip().splitlines()) == 1
    assert gavamoe("explain", run_path, "--user", "u01", "--item", "i01", "--context", "none")[0] == 0
