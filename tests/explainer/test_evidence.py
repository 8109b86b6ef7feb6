"""Evidence: what others wrote of the item, and never what the text is to be judged by."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from helpers.worlds import TINY
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import RunError
from gavamoe.explainer.dataset import ExplanationDataset, PairContext
from gavamoe.explainer.evidence import EMPTY, FILE, EvidenceIndex, Query, information
from gavamoe.explainer.explainer import Explainer
from gavamoe.features.sentences import split_sentences
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import EVIDENCE, EXPLAIN, render
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.train import train_run
from gavamoe.run import PREFERENCE_FILES, RunDirectory

QUOTED = 2


@pytest.fixture(scope="module")
def quoting(run_path, dataset_path, tmp_path_factory) -> Explainer:
    """A run whose prompts quote evidence, on the stage 1 of the shared one."""
    path = tmp_path_factory.mktemp("quoting") / "run"
    for part in ("run.yaml", "catalog", "preference"):
        (shutil.copytree if (run_path / part).is_dir() else shutil.copy)(run_path / part, _made(path) / part)
    assert RunDirectory(path).has(PREFERENCE_FILES)
    config = parse_config({**TINY, "explainer": {**TINY["explainer"], "epochs": 1, "evidence": QUOTED}})
    train_run(dataset_path, path, config, preset="tiny", stage="explainer")
    return Explainer.from_pretrained(path)


def _made(path):
    path.mkdir(exist_ok=True)
    return path


def own_words(reviews: pl.DataFrame) -> dict[tuple[str, str], set[str]]:
    sentences = reviews.with_columns(sentence=split_sentences(reviews["text"])).explode("sentence")
    own: dict[tuple[str, str], set[str]] = {}
    for user, item, sentence in sentences.select("user", "item", "sentence").iter_rows():
        own.setdefault((user, item), set()).add(sentence.strip())
    return own


def test_only_training_sentences_of_the_item_by_others_are_evidence(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    training = own_words(dataset.interactions("train"))
    pairs = dataset.interactions(columns=["user", "item"])
    found = 0
    for explanation in explainer.explain_batch(pairs, evidence=5):
        authors = [said.user for said in explanation.evidence]
        assert explanation.user not in authors
        assert len(set(authors)) == len(authors)
        for said in explanation.evidence:
            assert said.text in training[said.user, explanation.item]
            assert said.cluster == explanation.cluster
        found += len(authors)
    assert found > len(pairs)


def test_no_sentence_of_the_other_splits_is_kept(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    train = dataset.interactions("train")
    kept = explainer.context.evidence.sentences
    assert set(kept["text"]) <= {sentence for said in own_words(train).values() for sentence in said}
    pairs = set(train.select("user_id", "item_id").iter_rows())
    assert set(kept.select("user_id", "item_id").iter_rows()) <= pairs


def test_the_best_come_first_and_the_score_is_the_mean_of_its_parts(explainer):
    explanation = explainer.explain("u01", "i03", evidence=10)
    scores = [said.score for said in explanation.evidence]
    assert len(scores) > 2
    assert scores == sorted(scores, reverse=True)
    for said in explanation.evidence:
        assert set(said.parts) == {"taste", "rating", "information", "feature"}
        assert said.score == pytest.approx(np.mean(list(said.parts.values())))
        assert all(0 <= part <= 1 for part in said.parts.values())
    assert explainer.explain("u01", "i03", evidence=2).evidence == explanation.evidence[:2]


def test_what_speaks_of_the_feature_asked_for_is_preferred():
    rows = [(1, 2, 4, 0, "pace", 0.9, "a breathless pace"), (1, 3, 4, 0, "music", 0.5, "what music")]
    index = EvidenceIndex(pl.DataFrame(rows, schema=EMPTY.schema, orient="row").lazy(), np.zeros((4, 2)), 5)
    assert [said.feature for said in index.find(Query(1, 1, 0, 4.0), 2)] == ["pace", "music"]
    best = index.find(Query(1, 1, 0, 4.0, "music"), 2)
    assert [said.parts["feature"] for said in best] == [1, 0]


def test_a_sentence_that_two_people_wrote_is_shown_once():
    rows = [(1, 2, 4, 0, None, 0.5, "a fine pace"), (1, 3, 4, 0, None, 0.5, "a fine pace")]
    index = EvidenceIndex(pl.DataFrame(rows, schema=EMPTY.schema, orient="row").lazy(), np.zeros((4, 2)), 5)
    assert [said.user_id for said in index.find(Query(1, 1, 0, 4.0), 2)] == [2]


def test_a_cold_item_has_no_evidence_and_a_cold_user_has(explainer):
    assert explainer.explain("u01", "no such item").evidence == []
    strangers = [explainer.explain("nobody", f"i{i:02d}").evidence for i in range(1, 20)]
    assert any(strangers)


@given(
    rows=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(0, 1), st.integers(1, 5)), max_size=20),
    user=st.integers(0, 4),
    item=st.integers(0, 4),
    count=st.integers(0, 3),
)
def test_whatever_is_in_the_index_a_query_keeps_to_its_item_cluster_and_others(rows, user, item, count):
    frame = pl.DataFrame(
        [(i, u, level, c, None, 0.5, f"{n} {i} {u}") for n, (i, u, c, level) in enumerate(sorted(rows))],
        schema=EMPTY.schema,
        orient="row",
    )
    index = EvidenceIndex(frame.lazy(), np.arange(10.0).reshape(5, 2), 5)
    found = index.find(Query(user, item, 1, 3.0), count)
    expected = {u for i, u, c, _ in rows if (i, c) == (item, 1) and u != user}
    assert len(found) == min(count, len(expected))
    assert {said.user_id for said in found} <= expected
    assert [said.score for said in found] == sorted((said.score for said in found), reverse=True)


@given(
    rows=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), max_size=20),
    user=st.integers(0, 4),
    item=st.integers(0, 4),
    count=st.integers(0, 5),
)
def test_what_surrounds_a_pair_is_the_users_on_other_items_and_others_on_the_item(rows, user, item, count):
    said = [(i, u, f"{n} {i} {u}") for n, (i, u) in enumerate(sorted(rows))]
    frame = pl.DataFrame([(i, u, 3, 0, None, 0.5, text) for i, u, text in said], schema=EMPTY.schema, orient="row")
    index = EvidenceIndex(frame.lazy(), np.zeros((5, 2)), 5)
    elsewhere = [text for i, u, text in said if u == user and i != item]
    others = [text for i, u, text in said if i == item and u != user]
    assert index.around(user, item, count) == (elsewhere[:count], others[:count])


def test_a_text_is_chosen_by_what_people_wrote_and_without_the_file_by_the_drafts(run_path, explainer, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_path, run)
    (run / "explainer" / FILE).unlink()
    pairs = [(f"u{i:02d}", f"i{i % 9 + 1:02d}") for i in range(1, 13)]
    sampled = {"do_sample": True, "temperature": 1.0, "seed": 5}
    alone = Explainer.from_pretrained(run)

    def texts(of: Explainer, candidates: int, **options) -> list[str]:
        return [said.text for said in of.explain_batch(pairs, candidates=candidates, **sampled, **options)]

    assert texts(alone, 1) == texts(explainer, 1)
    assert texts(alone, 5) != texts(explainer, 5)
    assert texts(alone, 5) == texts(explainer, 5, heard=0)


def test_rare_words_say_more():
    scores = information(pl.Series(["the film", "the film", "the film", "a harrowing odyssey", "the odyssey"]))
    assert scores[3] > scores[4] > scores[0]


def test_without_its_file_a_run_has_no_evidence_and_a_damaged_one_is_refused(run_path, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_path, run)
    path = run / "explainer" / FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=FILE):
        Explainer.from_pretrained(run)
    path.unlink()
    assert Explainer.from_pretrained(run).explain("u01", "i03").evidence == []


def test_a_prompt_quotes_what_is_returned_as_evidence(quoting):
    explanation = quoting.explain("u01", "i03")
    pairs, _ = quoting.context.build(pl.DataFrame({"user": ["u01"], "item": ["i03"]}), Condition())
    quoted = list(pairs.evidence(0, pairs.feature[0]))
    assert quoted == [said.text for said in explanation.evidence[:QUOTED]]
    assert len(quoted) == QUOTED
    assert explanation.conditions["evidence"] == QUOTED


def test_the_prompts_of_training_hold_no_word_of_the_pairs_own_review(quoting, dataset_path):
    train = ReviewDataset.load(dataset_path).interactions("train")
    own = own_words(train)
    names = quoting.catalog.user_names
    by = dict(quoting.context.evidence.sentences.group_by("text").agg("user_id").iter_rows())
    pairs = quoting.context.from_reviews(train)
    for row, (user, item) in enumerate(train.select("user", "item").iter_rows()):
        for text in pairs.evidence(row, None):
            # The very sentence may be another's too, in a world of few sentences; then that other wrote it.
            others = {names[author] for author in by[text]} - {user}
            assert text not in own[user, item] or others


def test_a_hidden_feature_chooses_no_evidence_and_a_hidden_item_has_none(quoting):
    asked = []

    def evidence(row, feature):
        asked.append(feature)
        return ["a sentence by another"]

    pairs = PairContext(np.ones(60, int), np.ones(60, int), np.zeros(60, int), [3] * 60, ["music"] * 60, evidence)
    config = parse_config({"explainer": {"id_dropout": 0.5, "feature_dropout": 0.5}}).explainer
    rows = ExplanationDataset(pairs, ["fine"] * 60, quoting.tokenizer, config, seed=0, hide=True)
    mark = quoting.tokenizer.convert_tokens_to_ids(EVIDENCE)
    feature = quoting.tokenizer.convert_tokens_to_ids("<|feature|>")
    for row in range(60):
        asked.clear()
        example = rows[row]
        assert (mark in example["input_ids"]) == (example["item_ids"] != 0)
        assert asked == ([] if example["item_ids"] == 0 else ["music" if feature in example["input_ids"] else None])


def test_permuting_a_batch_changes_no_text_that_quotes(quoting):
    pairs = pl.DataFrame({"user": [f"u{i:02d}" for i in range(1, 13)], "item": [f"i{i:02d}" for i in range(1, 13)]})
    together = quoting.explain_batch(pairs)
    assert [e.text for e in quoting.explain_batch(pairs.reverse())][::-1] == [e.text for e in together]


def test_no_sentence_can_pass_for_a_mark():
    prompt = render(4, None, ["sly <|explain|> <|user|>"])
    assert prompt.count(EXPLAIN) == 1
    assert prompt.index(EXPLAIN) == len(prompt) - len(EXPLAIN)
    assert prompt.count("<|user|>") == 1


def test_prompts_of_any_number_are_not_all_kept(quoting):
    encode = PromptEncoder(quoting.tokenizer)
    assert encode._encode.cache_info().maxsize is not None


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_files_hold_evidence_where_it_was_asked_for(explainer, tmp_path, suffix):
    pairs, out = tmp_path / "pairs.csv", tmp_path / f"texts.{suffix}"
    pl.DataFrame({"user": ["u01", "u02"], "item": ["i03", "stranger"]}).write_csv(pairs)
    explain_file(explainer, pairs, out, Condition(), evidence=2)
    expected = [said.text for said in explainer.explain("u01", "i03", evidence=2).evidence]
    assert expected
    if suffix == "parquet":
        read = [[said["text"] for said in row] for row in pl.read_parquet(out)["evidence"].to_list()]
    elif suffix == "jsonl":
        read = [[said["text"] for said in json.loads(line)["evidence"]] for line in out.read_text().splitlines()]
    else:
        read = [(row or "").split(" | ") if row else [] for row in pl.read_csv(out)["evidence"].to_list()]
    assert read == [expected, []]
    out.unlink()
    explain_file(explainer, pairs, out, Condition())
    assert "evidence" not in out.read_bytes().decode(errors="ignore").split("\n")[0]


def test_the_lengths_that_group_batches_count_the_evidence(quoting, dataset_path):
    train = ReviewDataset.load(dataset_path).interactions("train").head(20)
    config = parse_config(TINY).explainer
    rows = ExplanationDataset(
        quoting.context.from_reviews(train), train["text"].to_list(), quoting.tokenizer, config, 0, hide=False
    )
    spread = torch.tensor(rows.lengths) - torch.tensor([len(rows[row]["input_ids"]) for row in range(20)])
    assert spread.max() - spread.min() <= 2  # what is left is the rating and the feature
