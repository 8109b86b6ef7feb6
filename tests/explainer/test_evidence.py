"""Evidence: sentences by other users about the item, and never the text that an explanation is judged by."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from helpers.runs import unsealed_copy
from helpers.worlds import TINY
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.conditions import Condition
from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import RunError
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.evidence import EMPTY, FILE, EvidenceIndex, Query, information
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.facts import PairFacts
from gavamoe.features.sentences import split_sentences
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import EVIDENCE, EXPLAIN, render_prompt
from gavamoe.pipeline.explain_file import explain_file
from gavamoe.pipeline.train import train_run
from gavamoe.run import PREFERENCE_FILES, RunDirectory

QUOTED = 2


@pytest.fixture(scope="module")
def quoting(run_path, dataset_path, tmp_path_factory) -> Explainer:
    """Return a run whose prompts quote evidence, with the stage 1 of the shared run."""
    path = tmp_path_factory.mktemp("quoting") / "run"
    for part in ("run.yaml", "catalog", "preference"):
        (shutil.copytree if (run_path / part).is_dir() else shutil.copy)(run_path / part, _created(path) / part)
    assert RunDirectory(path).has(PREFERENCE_FILES)
    config = parse_config({**TINY, "explainer": {**TINY["explainer"], "epochs": 1, "evidence": QUOTED}})
    train_run(dataset_path, path, config, preset="tiny", stage="explainer")
    return Explainer.from_pretrained(path)


def _created(path):
    path.mkdir(exist_ok=True)
    return path


def own_sentences(reviews: pl.DataFrame) -> dict[tuple[str, str], set[str]]:
    sentences = reviews.with_columns(sentence=split_sentences(reviews["text"])).explode("sentence")
    own: dict[tuple[str, str], set[str]] = {}
    for user, item, sentence in sentences.select("user", "item", "sentence").iter_rows():
        own.setdefault((user, item), set()).add(sentence.strip())
    return own


def test_only_training_sentences_about_the_item_by_others_are_evidence(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    training = own_sentences(dataset.interactions("train"))
    pairs = dataset.interactions(columns=["user", "item"])
    found = 0
    for explanation in explainer.explain_batch(pairs, evidence=5, max_new_tokens=8, candidates=1):
        authors = [sentence.user for sentence in explanation.evidence]
        assert explanation.user not in authors
        assert len(set(authors)) == len(authors)
        for sentence in explanation.evidence:
            assert sentence.text in training[sentence.user, explanation.item]
            assert sentence.cluster == explanation.cluster
        found += len(authors)
    assert found > len(pairs)


def test_no_sentence_of_the_other_splits_is_in_the_index(explainer, dataset_path):
    dataset = ReviewDataset.load(dataset_path)
    train = dataset.interactions("train")
    sentences = explainer.context.evidence.sentences
    assert set(sentences["text"]) <= {sentence for own in own_sentences(train).values() for sentence in own}
    pairs = set(train.select("user_id", "item_id").iter_rows())
    assert set(sentences.select("user_id", "item_id").iter_rows()) <= pairs


def test_the_best_sentences_come_first_and_the_score_is_the_mean_of_its_parts(explainer):
    explanation = explainer.explain("u01", "i03", evidence=10)
    scores = [sentence.score for sentence in explanation.evidence]
    assert len(scores) > 2
    assert scores == sorted(scores, reverse=True)
    for sentence in explanation.evidence:
        assert set(sentence.parts) == {"taste", "rating", "information", "feature"}
        assert sentence.score == pytest.approx(np.mean(list(sentence.parts.values())))
        assert all(0 <= part <= 1 for part in sentence.parts.values())
    assert explainer.explain("u01", "i03", evidence=2).evidence == explanation.evidence[:2]


def test_sentences_that_mention_the_requested_feature_are_preferred():
    rows = [(1, 2, 4, 0, "pace", 0.9, "a breathless pace"), (1, 3, 4, 0, "music", 0.5, "what music")]
    index = EvidenceIndex.from_sentences(
        pl.DataFrame(rows, schema=EMPTY.schema, orient="row").lazy(), np.zeros((4, 2)), 5
    )
    assert [sentence.feature for sentence in index.retrieve(Query(1, 1, 0, 4.0), 2)] == ["pace", "music"]
    best = index.retrieve(Query(1, 1, 0, 4.0, "music"), 2)
    assert [sentence.parts["feature"] for sentence in best] == [1, 0]


def test_a_sentence_by_two_users_is_retrieved_once():
    rows = [(1, 2, 4, 0, None, 0.5, "a fine pace"), (1, 3, 4, 0, None, 0.5, "a fine pace")]
    index = EvidenceIndex.from_sentences(
        pl.DataFrame(rows, schema=EMPTY.schema, orient="row").lazy(), np.zeros((4, 2)), 5
    )
    assert [sentence.user_id for sentence in index.retrieve(Query(1, 1, 0, 4.0), 2)] == [2]


def test_a_cold_item_has_no_evidence_and_a_cold_user_has_some(explainer):
    assert explainer.explain("u01", "no such item").evidence == []
    of_cold_user = [explainer.explain("nobody", f"i{i:02d}").evidence for i in range(1, 20)]
    assert any(of_cold_user)


@given(
    rows=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4), st.integers(0, 1), st.integers(1, 5)), max_size=20),
    user=st.integers(0, 4),
    item=st.integers(0, 4),
    count=st.integers(0, 3),
)
def test_a_query_retrieves_only_sentences_of_its_item_and_cluster_by_others(rows, user, item, count):
    frame = pl.DataFrame(
        [(i, u, level, c, None, 0.5, f"{n} {i} {u}") for n, (i, u, c, level) in enumerate(sorted(rows))],
        schema=EMPTY.schema,
        orient="row",
    )
    index = EvidenceIndex.from_sentences(frame.lazy(), np.arange(10.0).reshape(5, 2), 5)
    found = index.retrieve(Query(user, item, 1, 3.0), count)
    authors = [u for i, u, c, _ in rows if (i, c) == (item, 1) and u != user]
    anonymous = authors.count(0)  # user 0 stands for many authors
    assert len(found) == min(count, anonymous + len(set(authors) - {0}))
    assert {sentence.user_id for sentence in found} <= set(authors)
    assert [sentence.score for sentence in found] == sorted((sentence.score for sentence in found), reverse=True)


@given(
    rows=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=20),
    user=st.integers(0, 4),
    item=st.integers(0, 4),
    count=st.integers(0, 5),
)
def test_references_are_by_the_user_on_other_items_and_by_others_on_the_item(rows, user, item, count):
    written = [(i, u, f"{n} {i} {u}") for n, (i, u) in enumerate(sorted(rows))]
    frame = pl.DataFrame([(i, u, 3, 0, None, 0.5, text) for i, u, text in written], schema=EMPTY.schema, orient="row")
    index = EvidenceIndex.from_sentences(frame.lazy(), np.zeros((5, 2)), 5)
    elsewhere = [text for i, u, text in written if u == user and i != item and u != 0]  # user 0 stands for many
    others = [text for i, u, text in written if i == item and u != user]
    assert index.reference_sentences(user, item, count) == (elsewhere[:count], others[:count])


def test_references_choose_a_draft_and_without_their_file_the_drafts_alone_do(run_path, explainer, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_path, run)
    (run / "explainer" / FILE).unlink()
    pairs = [(f"u{i:02d}", f"i{i % 9 + 1:02d}") for i in range(1, 13)]
    sampled = {"do_sample": True, "temperature": 1.0, "seed": 5}
    without_file = Explainer.from_pretrained(run)

    def texts(using: Explainer, candidates: int, **options) -> list[str]:
        return [sentence.text for sentence in using.explain_batch(pairs, candidates=candidates, **sampled, **options)]

    assert texts(without_file, 1) == texts(explainer, 1)
    assert texts(without_file, 5) != texts(explainer, 5)
    assert texts(without_file, 5) == texts(explainer, 5, mbr_references=0)


def test_rare_words_are_more_informative():
    scores = information(pl.Series(["the film", "the film", "the film", "a harrowing odyssey", "the odyssey"]))
    assert scores[3] > scores[4] > scores[0]


def test_without_its_file_a_run_has_no_evidence_and_a_damaged_one_is_refused(run_path, tmp_path):
    run = unsealed_copy(run_path, tmp_path / "run")
    path = run / "explainer" / FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=FILE):
        Explainer.from_pretrained(run)
    path.unlink()
    assert Explainer.from_pretrained(run).explain("u01", "i03").evidence == []


def test_a_prompt_quotes_the_evidence_that_is_returned(quoting):
    explanation = quoting.explain("u01", "i03")
    pairs, _ = quoting.context.build(pl.DataFrame({"user": ["u01"], "item": ["i03"]}), Condition())
    quoted = list(pairs.fields(0).evidence)
    assert quoted == [sentence.text for sentence in explanation.evidence[:QUOTED]]
    assert len(quoted) == QUOTED
    assert explanation.conditions["evidence"] == QUOTED


def test_training_prompts_quote_no_sentence_of_the_pairs_own_review(quoting, dataset_path):
    train = ReviewDataset.load(dataset_path).interactions("train")
    own = own_sentences(train)
    names = quoting.catalog.user_names
    by = dict(quoting.context.evidence.sentences.group_by("text").agg("user_id").iter_rows())
    facts = quoting.context.facts(*quoting.context.from_reviews(train), train["item"].to_list())
    for row, (user, item) in enumerate(train.select("user", "item").iter_rows()):
        for text in facts.fields(row, None, None).evidence:
            # In a simulated world of few sentences, another user may have written the same one.
            others = {names[author] for author in by[text]} - {user}
            assert text not in own[user, item] or others


def test_evidence_ignores_a_hidden_feature_and_a_hidden_item_has_none(quoting):
    requested = []

    class Evidence:
        def sentences(self, row, feature):
            requested.append(feature)
            return ["a sentence by another"]

    pairs = PairContext(np.ones(60, int), np.ones(60, int), np.zeros(60, int), [3] * 60, ["music"] * 60)
    config = parse_config({"explainer": {"id_dropout": 0.5, "feature_dropout": 0.5}}).explainer
    rows = ExplanationDataset(
        pairs, ["fine"] * 60, quoting.prompt, config, seed=0, hide=True, facts=PairFacts(Evidence())
    )
    evidence_token = quoting.tokenizer.convert_tokens_to_ids(EVIDENCE)
    feature = quoting.tokenizer.convert_tokens_to_ids("<|feature|>")
    for row in range(60):
        requested.clear()
        example = rows[row]
        assert (evidence_token in example["input_ids"]) == (example["item_ids"] != 0)
        stated = "music" if feature in example["input_ids"] else None
        assert requested == ([] if example["item_ids"] == 0 else [stated])


def test_permuting_a_batch_changes_no_text_of_a_run_that_quotes(quoting):
    pairs = pl.DataFrame({"user": [f"u{i:02d}" for i in range(1, 13)], "item": [f"i{i:02d}" for i in range(1, 13)]})
    together = quoting.explain_batch(pairs)
    assert [e.text for e in quoting.explain_batch(pairs.reverse())][::-1] == [e.text for e in together]


def test_a_quoted_sentence_cannot_contain_a_special_token():
    prompt = render_prompt(4, None, ["sly <|explain|> <|user|>"])
    assert prompt.count(EXPLAIN) == 1
    assert prompt.index(EXPLAIN) == len(prompt) - len(EXPLAIN)
    assert prompt.count("<|user|>") == 1


def test_the_cache_of_prompts_is_bounded(quoting):
    encode = PromptEncoder(quoting.tokenizer)
    assert encode._encode.cache_info().maxsize is not None


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_files_have_evidence_if_it_was_requested(explainer, tmp_path, suffix):
    pairs, out = tmp_path / "pairs.csv", tmp_path / f"texts.{suffix}"
    pl.DataFrame({"user": ["u01", "u02"], "item": ["i03", "unknown"]}).write_csv(pairs)
    explain_file(explainer, pairs, out, Condition(), evidence=2)
    expected = [sentence.text for sentence in explainer.explain("u01", "i03", evidence=2).evidence]
    assert expected
    if suffix == "parquet":
        read = [[sentence["text"] for sentence in row] for row in pl.read_parquet(out)["evidence"].to_list()]
    elif suffix == "jsonl":
        read = [
            [sentence["text"] for sentence in json.loads(line)["evidence"]] for line in out.read_text().splitlines()
        ]
    else:
        read = [(row or "").split(" | ") if row else [] for row in pl.read_csv(out)["evidence"].to_list()]
    assert read == [expected, []]
    out.unlink()
    explain_file(explainer, pairs, out, Condition())
    assert "evidence" not in out.read_bytes().decode(errors="ignore").split("\n")[0]


def test_the_lengths_that_group_batches_count_the_evidence(quoting, dataset_path):
    train = ReviewDataset.load(dataset_path).interactions("train").head(20)
    config = parse_config(TINY).explainer
    pairs, predicted = quoting.context.from_reviews(train)
    facts = quoting.context.facts(pairs, predicted, train["item"].to_list())
    texts = train["text"].to_list()
    rows = ExplanationDataset(pairs, texts, quoting.prompt, config, 0, hide=False, facts=facts)
    spread = torch.tensor(rows.lengths) - torch.tensor([len(rows[row]["input_ids"]) for row in range(20)])
    assert spread.max() - spread.min() <= 2  # only rating and feature are not counted
