"""Files of pairs: explained in their order, also after interruptions, and refused if they are invalid."""

import copy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from gavamoe.conditions import Condition
from gavamoe.data.scale import RatingScale
from gavamoe.errors import DataError, RunError
from gavamoe.explainer.evidence import SentenceTable
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.pair_windows import model_digest
from gavamoe.pipeline.pairs_file import read_pairs

COUNT, WINDOW = 96, 4
SCALE = RatingScale(5, (1.0, 2.0, 3.0, 4.0, 5.0))
PROGRAM = """
import sys
from pathlib import Path
import torch
from gavamoe.explainer.explainer import Explainer
from gavamoe.conditions import Condition
from gavamoe.pipeline.explain_file import explain_file
torch.set_num_threads(1)
run, pairs, out = map(Path, sys.argv[1:])
explain_file(Explainer.from_pretrained(run), pairs, out, Condition(), resume=True, window={window})
"""


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    users = [f"u{i % 41:02d}" for i in range(COUNT)]  # u00 is an unknown user
    pl.DataFrame({"user": users, "item": [f"i{i % 23:02d}" for i in range(COUNT)]}).write_csv(path)
    return path


def explain(explainer, pairs, out, condition=Condition(), **options):
    return explain_file(explainer, pairs, out, condition, window=WINDOW, **options)


def test_pairs_of_unknown_users_and_items_are_counted(explainer, tmp_path):
    rows = {"user": ["u01", "u01", "nobody", "nobody"], "item": ["i01", "nothing", "i01", "i02"]}
    pl.DataFrame(rows).write_csv(tmp_path / "pairs.csv")
    result = explain(explainer, tmp_path / "pairs.csv", tmp_path / "out.jsonl")
    assert (result["n"], result["cold_users"], result["cold_items"]) == (4, 2, 1)


def test_the_first_incomplete_line_of_a_file_is_named(tmp_path):
    (tmp_path / "pairs.csv").write_text("user,item\nu01,\n,i02\n")
    with pytest.raises(DataError, match="line 2: no item"):
        read_pairs(tmp_path / "pairs.csv", Condition(), SCALE)
    (tmp_path / "pairs.csv").write_text("user,item,rating\nu01,i01,3\nu02,i01,9\n")
    with pytest.raises(DataError, match=r"line 3: rating 9 is out of range .*trained on"):
        read_pairs(tmp_path / "pairs.csv", Condition("given"), SCALE)


@pytest.mark.slow
def test_a_file_resumed_after_sigint_and_sigkill_equals_an_uninterrupted_one(run_path, explainer, pairs, tmp_path):
    out, parts = tmp_path / "texts.parquet", tmp_path / ".texts.parquet.parts"
    done = 0
    for stop in (signal.SIGINT, signal.SIGKILL):
        program = PROGRAM.format(window=WINDOW)
        process = subprocess.Popen([sys.executable, "-c", program, run_path, pairs, out], stderr=subprocess.DEVNULL)
        while len(list(parts.glob("0*.parquet"))) < done + 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(stop)
        assert process.wait() != 0
        done = len(list(parts.glob("0*.parquet")))
        assert 0 < done < COUNT / WINDOW
        assert not out.exists()
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("0*.parquet")}
    written = []
    explain_batch = explainer.explain_batch
    try:
        explainer.explain_batch = lambda rows, *args, **kw: (
            written.append(len(rows)) or explain_batch(rows, *args, **kw)
        )
        assert explain(explainer, pairs, out, resume=True)["n"] == COUNT
    finally:
        del explainer.explain_batch
    assert len(written) == COUNT / WINDOW - len(before)  # what was finished was not written again
    explain(explainer, pairs, tmp_path / "at once.parquet")
    assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "at once.parquet"))
    assert pl.read_parquet(out).select("user", "item").equals(pl.read_csv(pairs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at once.parquet", "pairs.csv", "texts.parquet"]


def test_unfinished_work_is_not_overwritten_and_not_mixed_with_other_settings(explainer, pairs, tmp_path, monkeypatch):
    out = tmp_path / "texts.jsonl"
    with monkeypatch.context() as broken:
        broken.setattr("gavamoe.pipeline.explain_file.write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            explain(explainer, pairs, out)
    assert not out.exists()
    with pytest.raises(RunError, match="--resume"):
        explain(explainer, pairs, out)
    with pytest.raises(RunError, match="other --encoding"):
        explain(explainer, pairs, out, resume=True, encoding="latin-1")
    with pytest.raises(RunError, match="other conditions"):
        explain(explainer, pairs, out, Condition(rating="none"), resume=True)
    explain(explainer, pairs, out, resume=True)
    assert len(pl.read_ndjson(out)) == COUNT


def test_windows_that_were_finished_without_a_store_are_not_resumed_with_one(explainer, pairs, tmp_path):
    out, kept = tmp_path / "texts.jsonl", []

    def keep(rows, explanations, evidence, histories):
        kept.extend(explanations)
        if len(kept) > WINDOW:
            raise KeyboardInterrupt

    def keep_all(rows, explanations, evidence, histories):
        kept.extend(explanations)

    keep.label = keep_all.label = "a store"

    def two_windows(windows, request, advance):
        yield from ((window, request.explain(explainer, window, advance)) for window in windows[:2])
        raise KeyboardInterrupt

    pl.read_csv(pairs)[: 3 * WINDOW].write_csv(pairs)
    with pytest.raises(KeyboardInterrupt):
        explain(explainer, pairs, out, engine=two_windows)
    with pytest.raises(RunError, match="other --store; delete it"):
        explain(explainer, pairs, out, resume=True, keep=keep)
    explain(explainer, pairs, out, resume=True)
    with pytest.raises(KeyboardInterrupt):
        explain(explainer, pairs, out, keep=keep)
    with pytest.raises(RunError, match="other --store; delete it"):
        explain(explainer, pairs, out, resume=True)
    keep_all.label = "another store"
    with pytest.raises(RunError, match="other --store; delete it"):
        explain(explainer, pairs, out, resume=True, keep=keep_all)
    keep_all.label = keep.label
    explain(explainer, pairs, out, resume=True, keep=keep_all)
    assert {(each.user, each.item) for each in kept} == set(pl.read_csv(pairs).rows())


def test_a_directory_of_files_is_explained_into_a_directory_of_parquet(explainer, pairs, tmp_path):
    whole, source, out = tmp_path / "whole.parquet", tmp_path / "pairs", tmp_path / "texts"
    rows = pl.read_csv(pairs)[: 3 * WINDOW]
    rows.write_csv(pairs)
    explain(explainer, pairs, whole)
    source.mkdir()
    rows[:10].write_parquet(source / "part-0.parquet")
    rows[:0].write_parquet(source / "part-1.parquet")
    rows[10:].write_csv(source / "part-2.csv")
    (source / "part-3.csv").touch()
    for ignored in ("_SUCCESS", ".part-0.parquet.crc"):
        (source / ignored).touch()
    assert explain(explainer, source, out)["out"] == str(out)
    assert sorted(path.name for path in out.iterdir()) == [f"{n:08d}.parquet" for n in range(3)]
    assert pl.read_parquet(out).equals(pl.read_parquet(whole))
    explain(explainer, out, tmp_path / "again.parquet")  # the output is a directory of pairs too
    assert pl.read_parquet(tmp_path / "again.parquet").equals(pl.read_parquet(whole))


@pytest.mark.parametrize(
    ("pairs", "out", "words"),
    [
        ("pairs", "taken", "taken exists already"),
        ("pairs", "pairs", "is the file of pairs itself"),
        ("pairs", "pairs/texts.parquet", "would be read as pairs next time"),
        ("pairs", "pairs/texts", "would be read as pairs next time"),
        ("empty", "texts", "a directory without files"),
        ("blank", "texts", "has no pairs"),
    ],
)
def test_directories_that_cannot_be_used_are_refused_unchanged(explainer, tmp_path, pairs, out, words):
    for name in ("pairs", "taken", "empty", "blank"):
        (tmp_path / name).mkdir()
    for name in ("pairs/a.csv", "taken/a.csv"):
        (tmp_path / name).write_text("user,item\nu01,i01\n")
    (tmp_path / "blank" / "a.csv").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=words):
        explain(explainer, tmp_path / pairs, tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_oracle_conditions_are_stated_in_every_row(explainer, tmp_path):
    path, out = tmp_path / "pairs.jsonl", tmp_path / "texts.jsonl"
    pl.DataFrame({"user": ["u01"], "item": ["i01"], "rating": [4], "feature": ["music"]}).write_ndjson(path)
    result = explain(explainer, path, out, Condition("given", "given"))
    row = pl.read_ndjson(out).row(0, named=True)
    assert result["conditions"]["oracle"] is row["oracle"] is True
    assert (row["rating_condition"], row["feature_condition"], row["feature"]) == ("given", "given", "music")
    explain(explainer, path, out)
    assert pl.read_ndjson(out)["oracle"].to_list() == [False]


@pytest.mark.parametrize(
    ("content", "condition", "words"),
    [
        ("user,item\nu01,i01\n", Condition(rating="given"), "no column rating"),
        ("user,item\nu01,i01\n", Condition(feature="given"), "no column feature"),
        ("user,item,rating\nu01,i01,4\nu02,i02,9\n", Condition(rating="given"), "line 3: rating 9"),
        (
            "user,item,rating\nu01,i01,4\nu02,i02,good\n",
            Condition(rating="given"),
            "line 3: no rating that is a number",
        ),
        ("user,item\nu01,i01\nu02,\n", Condition(), "line 3: no item"),
        ("user,shelf\nu01,i01\n", Condition(), "no column item"),
        ("user,item\n", Condition(), "no pairs"),
    ],
)
def test_an_invalid_file_of_pairs_is_refused_with_its_fault(explainer, tmp_path, content, condition, words):
    path, out = tmp_path / "pairs.csv", tmp_path / "texts.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=words):
        explain(explainer, path, out, condition)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_a_broken_line_is_named_without_advice_that_explain_cannot_follow(explainer, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"user": "u01", "item": "i01"}\n{"user": \n')
    with pytest.raises(DataError, match=r"line 2.*correct the line$"):
        explain(explainer, path, tmp_path / "texts.csv")


def test_names_are_stripped_as_in_prepare(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("user, item,rating,feature\n u01 , i01, 4, music \n")
    assert read_pairs(path, Condition("given", "given"), SCALE).row(0) == ("u01", "i01", 4.0, "music")
    path.write_text("user,item\nu01, \n")
    with pytest.raises(DataError, match="line 2: no item"):
        read_pairs(path, Condition(), SCALE)


def test_names_that_look_like_numbers_stay_strings(explainer, tmp_path):
    (tmp_path / "pairs.csv").write_text("user,item\n007,1e3\n")
    explain(explainer, tmp_path / "pairs.csv", tmp_path / "texts.parquet")
    row = pl.read_parquet(tmp_path / "texts.parquet").row(0, named=True)
    assert (row["user"], row["item"], row["cold_user"], row["cold_item"]) == ("007", "1e3", True, True)


def test_an_edited_template_or_absent_evidence_is_another_model(explainer):
    changed, evidence = copy.copy(explainer), explainer.context.evidence
    none = replace(evidence, table=SentenceTable(evidence.sentences[:0].lazy()))
    for part in ({"template": SimpleNamespace(source="another")}, {"evidence": none}):
        changed.context = replace(explainer.context, **part)
        assert model_digest(changed) != model_digest(explainer)


def test_language_models_without_soft_tokens_differ_in_their_digests(explainer):
    changed, digests = copy.copy(explainer), set()
    for bias in (0.0, 1.0):
        projection = torch.nn.Linear(1, 3)
        projection.weight, projection.bias = (
            torch.nn.Parameter(t) for t in (torch.zeros(3, 0), torch.full((3,), bias))
        )
        changed.model = SimpleNamespace(user_token=SimpleNamespace(projection=projection))
        digests.add(model_digest(changed))
    assert len(digests) == 2


def test_a_missing_file_of_pairs_is_named_also_where_the_output_exists(explainer, pairs, tmp_path):
    out = tmp_path / "texts.parquet"
    pl.DataFrame({"user": ["u01"], "item": ["i01"]}).write_csv(pairs)
    explain(explainer, pairs, out)
    with pytest.raises(DataError, match="missing"):
        explain(explainer, tmp_path / "missing.csv", out)
