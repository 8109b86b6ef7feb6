"""`gavamoe score` from the command line, with and without --json."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gavamoe.cli import main as cli

ROWS = [
    {
        "prediction": "the pool was warm",
        "reference": "the pool was cold",
        "feature": "pool",
        "rating": 2,
        "predicted_rating": 3,
    },
    {"prediction": "", "reference": "kind staff", "feature": "staff", "rating": 5, "predicted_rating": 9.0},
    {"prediction": "Kind staff!", "reference": "kind staff !", "feature": None, "rating": 4},
]
Score = Callable[..., tuple[int, str, str]]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    """Run `gavamoe score`: (exit code, stdout, stderr)."""

    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gavamoe", "score", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_json_is_one_object_with_metrics_and_conditions(score: Score, predictions: Path) -> None:
    code, out, err = score(predictions, "--json")
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert result["n"] == 3
    assert result["conditions"]["empty"] == 1
    assert result["conditions"]["rating_scale"] == [1, 5]
    assert result["metrics"]["FMR"] == 0.5
    assert result["metrics"]["FCR"] == 0.5
    # The 9 counts as 5, and the row without a predicted rating does not count.
    assert result["metrics"]["MAE"] == 0.5
    low, high = result["intervals"]["BLEU-1"]
    assert low <= result["metrics"]["BLEU-1"] <= high
    assert result["further"]["length"] == 2
    assert {group: found["n"] for group, found in result["groups"]["rating"].items()} == {"2": 1, "4": 1, "5": 1}


def test_rows_with_training_reviews_are_grouped_by_their_number(score: Score, tmp_path: Path) -> None:
    counts = {"a": 0, "b": 1, "c": 1, "d": 2, "e": 9, "f": 30}
    rows = [
        {"prediction": "kind", "reference": "kind", "user": user, "training_reviews": count}
        for user, count in counts.items()
        for _ in range(count + 1)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    groups = json.loads(score(path, "--json")[1])["groups"]["training reviews of the user"]
    assert {group: found["n"] for group, found in groups.items()} == {"cold": 1, "1": 4, "2": 3, "3-9": 10, "10+": 31}
    path.write_text("".join(json.dumps({**row, "training_reviews": "many"}) + "\n" for row in rows))
    assert "training reviews of the user" not in json.loads(score(path, "--json")[1])["groups"]


def test_training_texts_in_a_file_need_users_and_items_of_the_scored_rows(score: Score, tmp_path: Path) -> None:
    reviews = [{"user": f"u{n % 3}", "item": f"i{n}", "rating": 3, "text": f"kind staff {n}"} for n in range(9)]
    train, path = tmp_path / "train.jsonl", tmp_path / "predictions.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in reviews))
    rows = [{"item": row["item"], "prediction": "kind", "reference": row["text"]} for row in reviews[:4]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = score(path, "--train", train, "--json")
    assert (code, out) == (2, "")
    assert "scored row 1 has no user" in err
    path.write_text("".join(json.dumps({**row, "user": "u0"}) + "\n" for row in rows))
    assert json.loads(score(path, "--train", train, "--json")[1])["conditions"]["reviews_of_scored_pairs_left_out"] == 2


def test_texts_are_normalized_only_with_the_option(score: Score, predictions: Path) -> None:
    as_given, normalized = (
        json.loads(score(predictions, "--json", *more)[1])["metrics"]["BLEU-1"] for more in ((), ("--normalize",))
    )
    assert as_given < normalized


@pytest.mark.parametrize("content", ["pool\nstaff\n\nbar\nview\n", '["pool", "staff",\n "bar", "view"]'])
def test_a_feature_set_is_lines_or_a_json_list(score: Score, predictions: Path, tmp_path: Path, content: str) -> None:
    features = tmp_path / "features.txt"
    features.write_text(content)
    result = json.loads(score(predictions, "--feature-set", features, "--json")[1])
    assert result["metrics"]["FCR"] == 0.25
    assert result["conditions"]["feature_set"] == "features.txt"


def test_a_file_of_texts_alone_has_null_for_the_other_metrics(score: Score, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"prediction": "a b", "reference": "a b"}\n')
    metrics = json.loads(score(path, "--json")[1])["metrics"]
    assert metrics["BLEU-1"] == 100
    assert {metrics[name] for name in ("FMR", "FCR", "DIV", "RMSE", "MAE")} == {None}


def scored(score: Score, path: Path, rows: list[dict[str, Any]], *options: str) -> dict[str, Any]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = score(path, "--json", *options)
    assert code == 0
    return json.loads(out)


def test_a_row_without_a_reference_counts_for_ratings_only(score: Score, tmp_path: Path) -> None:
    rated = {"rating": 4, "predicted_rating": 3}
    right = {"prediction": "kind staff all of the time", "reference": "kind staff all of the time", **rated}
    blank = {"prediction": "whatever", "reference": " ", "rating": 2, "predicted_rating": 2}
    result = scored(score, tmp_path / "p.jsonl", [right, blank])
    assert result["n"] == 2
    for metric in ("BLEU-4", "rouge_1/f_score"):
        assert result["metrics"][metric] == pytest.approx(100)
    assert result["metrics"]["MAE"] == 0.5


def test_features_are_normalized_as_their_texts_are(score: Score, tmp_path: Path) -> None:
    row = {"prediction": "The Wi-Fi is slow", "reference": "Wi-Fi was down", "feature": "Wi-Fi"}
    for options in ([], ["--normalize"]):
        result = scored(score, tmp_path / "p.jsonl", [row, {**row, "prediction": "nice"}], *options)
        assert result["metrics"]["FMR"] == 0.5
        assert result["metrics"]["FCR"] == 1


def test_the_oracle_condition_is_read_from_the_rows(score: Score, tmp_path: Path) -> None:
    rows = [{"prediction": "a", "reference": "a", "oracle": oracle} for oracle in (False, True)]
    assert scored(score, tmp_path / "p.jsonl", rows)["conditions"]["oracle"] is True
    assert scored(score, tmp_path / "p.jsonl", rows[:1])["conditions"]["oracle"] is False
    assert scored(score, tmp_path / "p.jsonl", [{"prediction": "a", "reference": "a"}])["conditions"]["oracle"] is None
    (tmp_path / "p.jsonl").write_text(json.dumps({"prediction": "a", "reference": "a", "oracle": "false"}))
    code, _, err = score(tmp_path / "p.jsonl")
    assert code == 2
    assert "p.jsonl, line 1: 'oracle' must be true or false, not 'false'" in err


def test_a_table_of_many_groups_is_not_cut_and_has_no_control_characters(score: Score, tmp_path: Path) -> None:
    rows = [{"prediction": "a", "reference": "a", "rating": 1 + n, "cluster": f"\x1b[31m{n}"} for n in range(20)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = score(tmp_path / "p.jsonl")
    assert code == 0
    assert "…" not in out
    assert "\x1b" not in out
    assert out.count("rouge_l/f_score") >= 3


def test_rating_errors_count_even_if_all_true_ratings_are_equal(score: Score, tmp_path: Path) -> None:
    rows = [{"prediction": "a", "reference": "a", "rating": 5, "predicted_rating": guess} for guess in (1, 2)]
    assert scored(score, tmp_path / "p.jsonl", rows)["metrics"]["MAE"] == 3.5


def test_a_lone_surrogate_does_not_stop_the_scoring(score: Score, tmp_path: Path) -> None:
    rows = [
        {"prediction": "fine", "reference": f"fine \ud83d {n % 5}", "rating": n % 5, "predicted_rating": 2}
        for n in range(120)
    ]
    assert scored(score, tmp_path / "p.jsonl", rows)["n"] == 120


def test_a_compressed_file_scores_the_same(score: Score, predictions: Path) -> None:
    packed = predictions.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(predictions.read_bytes()))
    assert json.loads(score(packed, "--json")[1])["metrics"] == json.loads(score(predictions, "--json")[1])["metrics"]


def test_without_json_a_table_shows_intervals_and_conditions(score: Score, predictions: Path) -> None:
    code, out, _ = score(predictions)
    assert code == 0
    for part in ("n 3", "BLEU-4", "↑", "RMSE", "↓", " to ", "rating 5 (1)"):
        assert part in out


GOOD = b'{"prediction": "a", "reference": "b"}\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("empty", "prediction")),
        (b"\n\n", ("empty", "prediction")),
        (GOOD + b"{oops\n", ("line 2", "not JSON")),
        (GOOD + b"\n[1]\n", ("line 3", "object")),
        (GOOD + b'{"prediction": "a"}\n', ("line 2", "'reference' is missing", "prediction")),
        (b'{"prediction": 5, "reference": "b"}\n', ("line 1", "'prediction'", "5")),
        (b'{"prediction": null, "reference": "b"}\n', ("line 1", "'prediction'")),
        (b'{"prediction": "a", "reference": "b", "feature": ["x"]}\n', ("line 1", "'feature'")),
        (b'{"prediction": "a", "reference": "b", "rating": "5"}\n', ("line 1", "'rating'")),
        (b'{"prediction": "a", "reference": "b", "rating": true}\n', ("line 1", "'rating'")),
        (b'{"prediction": "a", "reference": "b", "rating": NaN}\n', ("line 1", "'rating'")),
        (b'{"prediction": "a", "reference": "b", "rating": 1' + b"0" * 400 + b"}\n", ("line 1", "'rating'")),
        (GOOD.replace(b"a", b"\xc3\xa9") + b'{"prediction": "\xff", "reference": "b"}\n', ("line 2", "UTF-8")),
        (gzip.compress(GOOD * 1000)[:-20], ("cut short",)),
    ],
)
def test_bad_input_is_one_line_that_names_file_and_line(
    score: Score, tmp_path: Path, content: bytes, words: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    code, out, err = score(path, "--json")
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    for word in ("bad.jsonl", *words):
        assert word in err


def test_a_missing_file_or_feature_set_is_named(score: Score, predictions: Path, tmp_path: Path) -> None:
    assert score(tmp_path / "none.jsonl")[0] == 2
    code, _, err = score(predictions, "--feature-set", tmp_path / "none.txt")
    assert code == 2
    assert "none.txt" in err


def test_a_directory_without_a_similarity_model_is_refused(score: Score, predictions: Path, tmp_path: Path) -> None:
    code, _, err = score(predictions, "--similarity-model", tmp_path)
    assert code == 2
    assert "config.json" in err


@pytest.mark.parametrize("content", ["", "[1, 2]", '["a", ""]', '["a"'])
def test_a_feature_set_without_features_is_refused(
    score: Score, predictions: Path, tmp_path: Path, content: str
) -> None:
    features = tmp_path / "features.json"
    features.write_text(content)
    code, _, err = score(predictions, "--feature-set", features)
    assert code == 2
    assert "features.json" in err


def rated(path: Path, pairs: list[tuple[float, float]], prediction: str | None = None) -> Path:
    rows = [{"prediction": prediction, "reference": "kind staff", "rating": r, "predicted_rating": p} for r, p in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("options", "mae"), [((), 1.5), (("--scale", "4:5"), 0.0), (("--scale", "1:9"), 3.5)])
def test_predictions_are_clipped_to_the_scale_and_not_to_the_observed_ratings(
    score: Score, tmp_path: Path, options: tuple[str, ...], mae: float
) -> None:
    path = rated(tmp_path / "p.jsonl", [(4.0, 1.0), (5.0, 9.0)], "kind")
    assert json.loads(score(path, "--json", *options)[1])["metrics"]["MAE"] == mae


def test_ratings_without_an_inferable_scale_are_not_clipped(score: Score, tmp_path: Path) -> None:
    result = json.loads(score(rated(tmp_path / "p.jsonl", [(-7.5, -9.5), (3.25, 3.25)], "kind"), "--json")[1])
    assert result["conditions"]["rating_scale"] is None
    assert result["metrics"]["MAE"] == 1.0


def test_a_system_that_only_rates_is_scored_on_its_ratings(score: Score, tmp_path: Path) -> None:
    path = rated(tmp_path / "p.jsonl", [(4.0, 3.0), (5.0, 5.0)])
    result = json.loads(score(path, "--json")[1])
    assert result["metrics"] == {"RMSE": 0.5**0.5, "MAE": 0.5}
    path.write_text(path.read_text() + json.dumps(ROWS[0]))
    code, _, err = score(path)
    assert code == 2
    assert "null in 2 of 3 rows" in err


def test_white_space_around_a_feature_is_ignored(score: Score, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    rows = [{"prediction": "the pool was warm", "reference": "nice pool", "feature": f} for f in ("pool ", " ", "pool")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "features.txt").write_text("pool\n")
    assert json.loads(score(path, "--feature-set", tmp_path / "features.txt", "--json")[1])["metrics"]["FMR"] == 1.0
