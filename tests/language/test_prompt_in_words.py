"""Prompts in words: what the template states, errors of templates, and the budget of tokens."""

import itertools

import pytest
from helpers.checkpoints import base_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.data.scale import RatingScale
from gavamoe.errors import ConfigError
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.prompt import PromptFields, Quotation
from gavamoe.language.template import PromptTemplate, template_names
from gavamoe.language.tokenizer import add_special_tokens, special_token_id

STARS = RatingScale.between(1, 5).in_words()
FULL = PromptFields(
    4,
    "music",
    ("the songs carry it", "a dull hour"),
    "The Quiet Harbour",
    ("drama", "musical"),
    "two sisters share a boat",
    (Quotation("Heat", "too long for me"),),
)
WORDS = {
    "name": "The Quiet Harbour",
    "categories": "drama, musical",
    "description": "two sisters share a boat",
    "evidence": "the songs carry it",
    "history": "too long for me",
    "level": "4 of 5 stars",
    "feature": "music",
}


def natural(max_tokens=400, chat=False):
    return PromptTemplate.from_setting("natural", STARS, max_tokens, chat)


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = base_tokenizer(chat=True)
    add_special_tokens(tokenizer)
    return tokenizer


@pytest.mark.parametrize("field", WORDS)
def test_the_prompt_states_a_field_in_words_and_leaves_no_trace_of_a_missing_one(field, tokenizer):
    encode = PromptEncoder(tokenizer, natural())
    missing = None if getattr(PromptFields(), field) is None else ()
    with_field, without = encode.text(FULL), encode.text(PromptFields(**{**FULL.__dict__, field: missing}))
    assert WORDS[field] in with_field
    assert WORDS[field] not in without.replace("musical", "")
    assert len(with_field.splitlines()) - len(without.splitlines()) in (0, 1, 2, 3)
    assert "\n\n" not in without
    assert "None" not in without


def test_a_prompt_that_states_nothing_is_the_soft_tokens_and_the_cue(tokenizer):
    assert PromptEncoder(tokenizer, natural()).text(PromptFields()) == "Item: <|item|>\nReviewer: <|user|>\nReview:"


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (RatingScale.between(1, 5), "4 of 5 stars"),
        (RatingScale.between(0.5, 5, 0.5), "2 of 5 stars"),
        (RatingScale.between(1, 10), "4 of 10 points"),
        (RatingScale.between(0, 100, 10), "30 of 100 points"),
    ],
)
def test_a_level_is_stated_in_the_words_of_the_scale(scale, words):
    assert scale.in_words()[3] == words
    assert len(scale.in_words()) == scale.levels


def test_two_levels_are_negative_and_positive():
    assert RatingScale(2, (-1.0, 1.0)).in_words() == ("negative", "positive")


def test_the_chat_template_wraps_the_prompt_only_if_the_setting_says_so(tokenizer):
    plain, chat = (tokenizer.decode(PromptEncoder(tokenizer, natural(chat=chat))(FULL)) for chat in (False, True))
    assert "[answer]" not in plain
    assert plain.endswith("Review:")
    assert "[answer]" in chat


TEXT = st.text(max_size=60) | st.sampled_from(["<|user|> <|item|>", "<eos>", "a b  c\n\nd", "电影很好看", "x" * 300])
FIELDS = st.builds(
    PromptFields,
    level=st.none() | st.integers(1, 5),
    feature=st.none() | TEXT,
    evidence=st.lists(TEXT, max_size=4).map(tuple),
    name=st.none() | TEXT,
    categories=st.lists(TEXT, max_size=3).map(tuple),
    description=st.none() | TEXT,
    history=st.lists(st.builds(Quotation, TEXT, TEXT), max_size=3).map(tuple),
)


@settings(max_examples=80)
@given(fields=FIELDS, budget=st.integers(70, 300), chat=st.booleans())
def test_a_prompt_never_exceeds_its_budget_and_has_each_soft_token_once(fields, budget, chat):
    tokenizer = base_tokenizer(chat=True)
    add_special_tokens(tokenizer)
    ids = PromptEncoder(tokenizer, natural(budget, chat))(fields)
    assert len(ids) <= budget
    for token in ("<|user|>", "<|item|>"):
        assert ids.count(special_token_id(tokenizer, token)) == 1
    assert tokenizer.eos_token_id not in ids


def test_quotations_are_dropped_from_the_last_one_on_and_only_then_the_description_is_cut(tokenizer):
    whole = len(PromptEncoder(tokenizer, natural())(FULL))
    stated = []
    for budget in range(whole, 60, -1):
        text = tokenizer.decode(PromptEncoder(tokenizer, natural(budget))(FULL))
        stated.append([words in text for words in ("too long", "a dull hour", "the songs", "share a boat", "drama")])
    assert stated[0] == [True] * 5
    for row, following in itertools.pairwise(stated):
        assert row >= following, "a smaller budget states no more"
        assert sorted(following) == following, "what is later in the order is dropped while an earlier text is kept"
    assert stated[-1] == [False, False, False, False, True] or stated[-1] == [False] * 5


def test_a_budget_that_the_template_alone_exceeds_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"explainer\.prompt_tokens=8 is too few"):
        PromptEncoder(tokenizer, natural(8)).check_budget()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ user_token }}{{ item_token }}{% if %}", "line 1: "),
        ("{{ user_token }}{{ item_token }}{{ titel }}", "'titel' is undefined"),
        ("{{ user_token }}", "must write {{ item_token }} once in every prompt"),
        ("{{ user_token }}{% if name %}{{ item_token }}{% endif %}", "0 times for a pair that states no field"),
        ("{{ user_token }}{{ item_token }}{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ user_token }}{{ item_token }}{{ 1 / 0 }}", "division"),
        ("{% include 'other' %}", "explainer.prompt_template="),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_line(source, words, tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text(source)
    with pytest.raises(ConfigError) as refused:
        PromptTemplate.from_setting(str(path), STARS, 100, False)
    assert words in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_template_that_does_not_exist_is_refused_with_the_names_there_are():
    with pytest.raises(ConfigError, match="one of special-tokens, natural"):
        PromptTemplate.from_setting("naturel", STARS, 100, False)
    assert template_names() == ["natural"]


def test_a_saved_template_renders_the_same_prompts(tmp_path, tokenizer):
    path = tmp_path / "own.jinja"
    path.write_text("{{ item_token }} <{{ name }}> & {{ rating }} {{ user_token }}:")
    template = PromptTemplate.from_setting(str(path), STARS, 100, True)
    template.save(tmp_path)
    assert PromptTemplate.load(tmp_path) == template
    assert PromptEncoder(tokenizer, template).text(FULL) == ("<|item|> <The Quiet Harbour> & 4 of 5 stars <|user|>:")
    assert PromptTemplate.load(tmp_path / "elsewhere") is None
