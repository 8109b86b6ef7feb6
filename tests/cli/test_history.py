"""`--history FILE`: explain and recommend for users whom the run does not know."""

from __future__ import annotations

import json

import polars as pl
import pytest

from gavamoe.pipeline.history_file import read_history_file
from gavamoe.preference.history import UserHistory

HISTORY = [{"item": "i01", "rating": 5}, {"item": "i02", "rating": 1}]
OTHER = [{"item": "i03", "rating": 1}, {"item": "i04", "rating": 5}]
ONE_USER = "item,rating\ni01,5\ni02,1\nnew,3\n"
TWO_USERS = "Reviewer,Movie,Stars\nana,i01,5\nu01,i03,1\nana,i02,1\nu01,i04,5\nana,new,3\n"


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(result):
    code, out, err = result
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1), err
    return err


def test_one_pair_is_explained_from_a_file_and_what_is_ignored_is_said(gavamoe, run_path, explainer, write):
    path = write("mine.csv", ONE_USER)
    code, out, err = gavamoe("explain", run_path, "--item", "i05", "--history", path, "--json")
    assert code == 0
    answer, expected = json.loads(out), explainer.explain("guest", "i05", history=HISTORY).to_dict()
    assert {name: answer[name] for name in ("user", "text", "cluster", "user_source")} == {
        name: expected[name] for name in ("user", "text", "cluster", "user_source")
    }
    assert answer["user_source"] == "history"
    assert err.splitlines() == [
        f"{path}: 2 ratings of 1 user used",
        f"{path}: 1 item without a training review ignored: new",
    ]
    _, named, _ = gavamoe("explain", run_path, "--item", "i05", "--history", path, "--user", "u01", "--json")
    assert (json.loads(named)["user"], json.loads(named)["text"]) == ("u01", answer["text"])


def test_an_item_that_a_history_names_twice_counts_once_with_its_last_rating(explainer):
    twice = [{"item": "i01", "rating": 1, "text": "dull"}, *HISTORY[1:], {"item": "i01", "rating": 5, "text": "fine"}]
    once = [*HISTORY[1:], {"item": "i01", "rating": 5, "text": "fine"}]
    assert UserHistory.from_entries(twice, explainer.catalog) == UserHistory.from_entries(once, explainer.catalog)


def test_a_file_of_several_users_needs_the_name_and_takes_the_rows_of_it(gavamoe, run_path, explainer, write):
    path = write("two.csv", TWO_USERS)
    explain = ("explain", run_path, "--item", "i05", "--history", path)
    line = refusal(gavamoe(*explain))
    assert all(word in line for word in ("2 users", "ana, u01", "--user"))
    line = refusal(gavamoe(*explain, "--user", "bob"))
    assert all(word in line for word in ("no rating by user 'bob'", "ana, u01"))
    for user, history in (("ana", HISTORY), ("u01", OTHER)):
        code, out, _ = gavamoe(*explain, "--user", user, "--json")
        assert code == 0
        assert json.loads(out)["text"] == explainer.explain(user, "i05", history=history).text
    only = write(
        "one.jsonl", '{"user": "ana", "item": "i01", "rating": 5}\n{"user": "ana", "item": "i02", "rating": 1}'
    )
    _, out, _ = gavamoe("explain", run_path, "--item", "i05", "--history", only, "--json")
    assert json.loads(out)["user"] == "ana"


def test_a_column_of_texts_is_read_as_what_each_user_wrote(explainer, write):
    path = write("texts.csv", "user,item,rating,text\nana,i01,5,Fine story\nana,i02,1,\nbob,new,3,Unknown item\n")
    histories = read_history_file(path, explainer.catalog).by_user
    assert [text for _, _, text in histories["ana"].written] == ["Fine story"]
    assert histories["ana"].rated == UserHistory.from_entries(HISTORY, explainer.catalog).rated
    assert histories["bob"].written == ()


def test_the_users_of_a_file_of_pairs_get_their_own_rows_and_others_are_looked_up(
    gavamoe, run_path, explainer, write, tmp_path
):
    rows = [("ana", "i05"), ("u01", "i06"), ("u02", "i07"), ("nobody", "i08"), ("lost", "i05")]
    pairs = write("pairs.csv", "user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    path, out = write("two.csv", TWO_USERS + "lost,unknown,3\nunasked,i01,3\n"), tmp_path / "texts.parquet"
    code, _, err = gavamoe("explain", run_path, "--pairs", pairs, "--out", out, "--history", path)
    assert code == 0
    table = pl.read_parquet(out)
    histories = [HISTORY, OTHER, None, None, []]
    expected = explainer.explain_batch(rows, histories=histories)
    assert table["text"].to_list() == [each.text for each in expected]
    assert table["user_source"].to_list() == ["history", "history", "training", "unknown", "unknown"]
    assert f"{path}: 4 ratings of 3 users used" in err
    assert "1 user without a known item, treated as unknown" in err


def test_a_file_without_users_is_for_pairs_of_one_user(gavamoe, run_path, explainer, write, tmp_path):
    path, out = write("mine.csv", ONE_USER), tmp_path / "texts.jsonl"
    several = write("several.csv", "user,item\nana,i05\nbob,i05\n")
    line = refusal(gavamoe("explain", run_path, "--pairs", several, "--out", out, "--history", path))
    assert all(word in line for word in ("mine.csv", "no column user", "2 users"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mine.csv", "several.csv"]
    pairs = write("pairs.csv", "user,item\nana,i05\nana,i06\n")
    assert gavamoe("explain", run_path, "--pairs", pairs, "--out", out, "--history", path)[0] == 0
    expected = explainer.explain_batch([("ana", "i05"), ("ana", "i06")], histories=[HISTORY] * 2)
    assert pl.read_ndjson(out)["text"].to_list() == [each.text for each in expected]


def test_resume_refuses_another_history(gavamoe, run_path, write, tmp_path, monkeypatch):
    path, out = write("mine.csv", ONE_USER), tmp_path / "texts.jsonl"
    pairs = write("pairs.csv", "user,item\nana,i05\n")
    explain = ("explain", run_path, "--pairs", pairs, "--out", out, "--history")
    with monkeypatch.context() as broken:
        broken.setattr("gavamoe.pipeline.explain_file.write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert gavamoe(*explain, path)[0] != 0
    changed = write("changed.csv", ONE_USER.replace("i01,5", "i01,4"))
    code, _, err = gavamoe(*explain, changed, "--resume")
    assert code == 2
    assert "other history" in err.splitlines()[-1]
    assert "other history" in gavamoe(*explain[:-1], "--resume")[2]
    assert not out.exists()
    assert gavamoe(*explain, path, "--resume")[0] == 0


def test_a_store_is_filled_under_the_history(gavamoe, run_path, write, tmp_path):
    pytest.importorskip("sqlalchemy", reason="the store needs the extra 'serve'")
    from gavamoe.pipeline.explanation_store import ExplanationStore

    pairs, store = write("pairs.csv", "user,item\nu01,i05\n"), f"sqlite:///{tmp_path}/store.sqlite"
    explain = ("explain", run_path, "--pairs", pairs, "--out", tmp_path / "texts.jsonl", "--store", store)
    for history in ([], ["--history", write("a.csv", ONE_USER)], ["--history", write("b.csv", "item,rating\ni03,1\n")]):
        assert gavamoe(*explain, *history)[0] == 0
    filled = ExplanationStore(store)
    assert filled.count()["explanations"] == 3
    filled.close()


def test_recommend_ranks_by_the_history_and_explains_with_it(gavamoe, run_path, rating_run_path, explainer, write):
    path = write("mine.csv", ONE_USER)
    expected = explainer.recommend(history=HISTORY, top=3)
    for run in (run_path, rating_run_path):
        code, out, _ = gavamoe("recommend", run, "--history", path, "--top", "3", "--json")
        assert code == 0
        assert json.loads(out)["user"] is None
        assert [row["item"] for row in json.loads(out)["recommendations"]] == expected["item"].to_list()
    code, out, _ = gavamoe(
        "recommend", run_path, "--history", path, "--user", "ana", "--top", "3", "--explain", "--json"
    )
    assert code == 0
    assert json.loads(out)["user"] == "ana"
    explained = explainer.explain_batch([("ana", item) for item in expected["item"]], histories=[HISTORY] * 3)
    assert [row["text"] for row in json.loads(out)["recommendations"]] == [each.text for each in explained]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item,rating\ni01,5\ni02,9\n", ["history.csv, line 3", "rating 9", "1..5"]),
        ("item,rating\ni01,5\ni02,good\n", ["history.csv, line 3", "no rating that is a number"]),
        ("item,rating\ni01,5\ni02,nan\n", ["history.csv, line 3", "no rating that is a number"]),
        ("item,rating\ni01,5\n,4\n", ["history.csv, line 3", "no item"]),
        ("user,item,rating\nana,i01,5\n,i02,4\n", ["history.csv, line 3", "no user"]),
        ("item,when\ni01,5\n", ["history.csv", "no column rating", "item, when"]),
        ("shelf,rating\ni01,5\n", ["history.csv", "no column item"]),
        ("item,rating\n", ["history.csv", "no ratings"]),
        ("item,rating\nnew,5\nother,4\n", ["history.csv", "none of the rated items has a training review"]),
    ],
)
def test_an_invalid_history_is_one_line(gavamoe, run_path, write, text, words):
    path = write("history.csv", text)
    for command in (["explain", run_path, "--item", "i05"], ["recommend", run_path]):
        line = refusal(gavamoe(*command, "--history", path))
        assert all(word in line for word in words), line


def test_a_history_is_read_in_the_stated_encoding_and_records(gavamoe, run_path, tmp_path):
    path = tmp_path / "history.json"
    rows = [{"item": "i01", "rating": 5}, {"item": "película", "rating": 1}]
    path.write_bytes(json.dumps({"data": {"mine": rows}}, ensure_ascii=False).encode("utf-16"))
    code, _, err = gavamoe(
        *("recommend", run_path, "--history", path, "--encoding", "utf-16", "--records", "data.mine", "--json")
    )
    assert code == 0
    assert "1 item without a training review ignored: película" in err


def test_someone_must_be_named(gavamoe, run_path, write, tmp_path):
    assert "--user, or --history" in refusal(gavamoe("recommend", run_path))
    assert "--user and --item" in refusal(gavamoe("explain", run_path, "--history", write("mine.csv", ONE_USER)))
    assert "missing.csv" in refusal(gavamoe("recommend", run_path, "--history", tmp_path / "missing.csv"))
