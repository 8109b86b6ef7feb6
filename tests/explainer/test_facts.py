"""What prompts in words may know: quotations by pair and split, the context of a condition, and what training hides."""

import numpy as np
import polars as pl
import pytest
from helpers.checkpoints import base_tokenizer, save_base
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.conditions import CONTEXTS, Condition
from gavamoe.config import parse_config
from gavamoe.data.scale import RatingScale
from gavamoe.errors import ConfigError
from gavamoe.explainer.context import PairContext
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.evidence import EvidenceIndex, PairEvidence
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.facts import DESCRIPTION_WORDS, ItemTexts, PairFacts
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.template import PromptTemplate
from gavamoe.language.tokenizer import add_special_tokens
from gavamoe.pipeline.evaluate import evaluate_run
from gavamoe.pipeline.train import train_run
from gavamoe.run import RunDirectory

ITEMS = ItemTexts(
    [None, "Heat", "Alien", "Fargo"], [(), ("crime",), ("horror",), ("crime",)], [None, "cops", None, "snow"]
)


def facts_of(reviews, train, count=3):
    """Return the facts of reviews whose quotations come from `train`; users and items have ids, clusters alternate."""
    clusters = (train["user_id"].to_numpy() + train["item_id"].to_numpy()) % 2
    index = EvidenceIndex.fit(train, clusters, np.random.default_rng(0).normal(size=(6, 3)), 5, None)
    ids = reviews["user_id"].to_numpy().astype(int), reviews["item_id"].to_numpy().astype(int)
    quotations = PairEvidence(index, *ids, sum(ids) % 2, reviews["level"].to_numpy(), count, count, other_clusters=True)
    return PairFacts(quotations, ITEMS, [f"item {item}" for item in ids[1]])


def world(pairs):
    """Return reviews of (user, item, split), each of two sentences that no other review has."""
    rows = [
        (user, item, 1 + (user + item) % 5, f"Sentence {n} of it . Remark {n} of it", "plot", split)
        for n, (user, item, split) in enumerate(pairs)
    ]
    names = ["user_id", "item_id", "level", "text", "feature", "split"]
    return pl.DataFrame(rows, schema=names, orient="row").cast({"user_id": pl.Int32, "item_id": pl.Int32})


PAIRS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 3), st.sampled_from(["train", "train", "valid", "test"])),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(pairs=PAIRS)
def test_a_prompt_never_quotes_the_pairs_own_review_nor_one_that_is_not_in_training(pairs):
    reviews = world(pairs)
    facts = facts_of(reviews, reviews.filter(pl.col("split") == "train"))
    for row, (user, item, _) in enumerate(pairs):
        fields = facts.fields(row, 3, "plot")
        sources = {"evidence": fields.evidence, "history": [quotation.text for quotation in fields.history]}
        for kind, sentences in sources.items():
            for sentence in sentences:
                author, about, split = pairs[int(sentence.split()[1])]
                assert split == "train"
                assert (author != user and about == item) if kind == "evidence" else (author == user and about != item)
        if user == 0:  # nobody in particular
            assert not fields.history
        assert [ITEMS.names.index(quotation.item) for quotation in fields.history] == [
            pairs[int(text.split()[1])][1] for text in sources["history"]
        ]


def test_evidence_of_the_pairs_cluster_comes_before_that_of_others():
    reviews = world([(user, 1, "train") for user in range(1, 6)])
    fields = facts_of(reviews, reviews, count=8).fields(0, 3, None)
    clusters = [(user + 1) % 2 for user in (1 + int(sentence.split()[1]) for sentence in fields.evidence)]
    assert clusters == [0, 0, 1, 1]


def test_each_context_states_the_parts_of_the_one_before_it_and_one_more():
    reviews = world([(1, 1, "train"), (2, 1, "train"), (1, 2, "train")])
    facts = facts_of(reviews, reviews)
    stated = []
    for context in CONTEXTS:
        fields = facts.fields(0, 4, "plot", context)
        assert (fields.level, fields.feature) == (4, "plot")
        stated.append([bool(fields.name), bool(fields.description), bool(fields.evidence), bool(fields.history)])
    assert stated == [[False] * 4, [True, True, False, False], [True, True, True, False], [True] * 4]


def test_an_unknown_item_has_its_name_only_and_a_long_description_is_cut():
    reviews = world([(1, 1, "train"), (2, 1, "train"), (1, 2, "train")])
    facts = facts_of(reviews, reviews)
    fields = facts.fields(0, 4, None, item_known=False)
    assert (fields.name, fields.description, fields.categories, fields.evidence) == ("item 1", None, (), ())
    assert fields.history
    assert not facts.fields(0, 4, None, user_known=False).history

    items = {"item": ["a"], "title": [None], "categories": [None], "description": ["word " * 90]}
    (catalog,) = [type("Catalog", (), {"items": pl.DataFrame(items)})]
    texts = ItemTexts.from_catalog(catalog)
    assert texts.names == [None, "a"]
    assert len(texts.descriptions[1].split()) == DESCRIPTION_WORDS


def test_training_hides_parts_of_the_context_by_epoch_and_validation_none():
    reviews = world([(1 + n % 5, 1 + n % 3, "train") for n in range(15)])
    tokenizer = base_tokenizer()
    add_special_tokens(tokenizer)
    ids = reviews["user_id"].to_numpy().astype(int), reviews["item_id"].to_numpy().astype(int)
    pairs = PairContext(*ids, ids[0] % 2, [3] * 15, ["plot"] * 15)
    template = PromptTemplate.from_setting("natural", RatingScale.between(1, 5).in_words(), 1000, False)
    config = parse_config({"explainer": {"context_dropout": 0.6, "id_dropout": 0.0}}).explainer
    found = {}
    for hide in (True, False):
        prompt = PromptEncoder(tokenizer, template)
        rows = ExplanationDataset(pairs, ["fine"] * 15, prompt, config, 0, hide, facts_of(reviews, reviews))
        prompts = []
        for epoch in range(4):
            rows.set_epoch(epoch)
            prompts.append([tokenizer.decode(rows[row]["input_ids"]) for row in range(15)])
        marks = ("Others wrote", "This reviewer wrote", "Categories")
        found[hide] = {tuple(mark in prompt for mark in marks) for epoch in prompts for prompt in epoch}
        assert (prompts[0] != prompts[1]) == hide
        assert rows[0] == rows[0]
    assert found[False] == {(True, True, True)}
    assert found[True] == {(True, True, True), (True, False, True), (False, False, True), (False, False, False)}


@pytest.fixture(scope="module")
def natural_run(dataset_path, tiny_config, tmp_path_factory):
    """A run around a tiny base with prompts in words."""
    directory = tmp_path_factory.mktemp("natural")
    changes = {"epochs": 1, "max_tokens": 12, "expert_rank": 8, "learning_rate": 1e-3, "prompt_tokens": 300}
    changes |= {"lora_targets": "all", "max_reviews": 40}
    explainer = tiny_config.explainer.model_copy(update=changes)
    train_run(
        dataset_path,
        directory / "run",
        tiny_config.model_copy(update={"explainer": explainer}),
        base_model=save_base(directory / "base"),
    )
    return directory / "run"


def test_a_run_around_a_base_has_its_template_and_says_what_its_prompts_knew(natural_run):
    assert "Reviewer: {{ user_token }}" in (natural_run / "explainer" / "prompt.jinja").read_text()
    explainer = Explainer.from_pretrained(natural_run)
    for context in CONTEXTS:
        (explanation,) = explainer.explain_batch([("u01", "i01")], Condition(context=context))
        quoted = 3 if context in ("evidence", "history") else 0
        assert explanation.conditions["context"] == context
        assert explanation.conditions["evidence"] == quoted
    assert explainer.explain("u01", "i01").conditions["context"] == "history"
    records = RunDirectory(natural_run).read_training()["explainer"]
    assert [each["conditions"]["context"] for each in records if "eval_loss" in each] == ["history"]


def test_an_edited_template_changes_the_prompts_of_a_run(natural_run):
    explainer = Explainer.from_pretrained(natural_run)
    pairs, _ = explainer.context.build(pl.DataFrame({"user": ["u01"], "item": ["i01"]}), Condition())
    before = explainer.tokenizer.decode(PromptEncoder(explainer.tokenizer, explainer.context.template)(pairs.fields(0)))
    assert "Item: <|item|> i01" in before
    assert before.endswith("Review:")
    path = natural_run / "explainer" / "prompt.jinja"
    source = path.read_text()
    path.write_text(source.replace("Review:", "Opinion:"))
    edited = Explainer.from_pretrained(natural_run)
    path.write_text(source)
    after = edited.tokenizer.decode(PromptEncoder(edited.tokenizer, edited.context.template)(pairs.fields(0)))
    assert after == before.removesuffix("Review:") + "Opinion:"


def test_evaluations_of_different_contexts_say_so_and_are_kept_apart(natural_run):
    for context in ("item", "evidence"):
        comparison, _ = evaluate_run(RunDirectory(natural_run), None, "test", Condition(context=context), 3)
        assert comparison.evaluation.conditions["context"] == context
    names = [path.name for path in (natural_run / "evaluations").iterdir()]
    assert sorted(name.rpartition("_context-")[2] for name in names) == ["evidence", "item"]


def test_a_run_of_special_tokens_refuses_a_context_that_it_cannot_state(explainer):
    with pytest.raises(ConfigError, match="cannot state the context 'item'"):
        explainer.explain_batch([("u01", "i01")], Condition(context="item"))
    (text,) = explainer.explain_batch([("u01", "i01")], Condition(context="none"))
    assert text == explainer.explain_batch([("u01", "i01")])[0]


def test_a_template_that_cannot_be_used_stops_a_run_before_it_trains(dataset_path, tiny_config, tmp_path):
    explainer = tiny_config.explainer.model_copy(update={"prompt_template": str(tmp_path / "none.jinja")})
    with pytest.raises(ConfigError, match=r"prompt_template=.*none.jinja cannot be read"):
        train_run(dataset_path, tmp_path / "run", tiny_config.model_copy(update={"explainer": explainer}))
    assert not (tmp_path / "run").exists()
