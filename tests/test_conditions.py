"""Conditions: slugs and dictionaries with and without a context, and what a system is told."""

import pytest

from gavamoe.conditions import CONTEXTS, Condition
from gavamoe.errors import ConfigError
from gavamoe.experiments.config import CompareConfig
from gavamoe.experiments.grids import describe_condition
from gavamoe.experiments.systems import resolve_systems


def test_a_condition_without_a_context_keeps_the_names_of_earlier_results():
    assert Condition().slug == "rating-predicted_feature-predicted"
    assert Condition().to_dict() == {"rating": "predicted", "feature": "predicted", "oracle": False}


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_chosen_context_is_in_the_slug_and_the_dictionary_and_is_no_oracle(context):
    condition = Condition(context=context)
    assert condition.slug == f"rating-predicted_feature-predicted_context-{context}"
    assert condition.to_dict()["context"] == context
    assert not condition.oracle
    assert condition.with_context("history") == condition
    assert [part for part in CONTEXTS if condition.states(part)] == list(CONTEXTS[: CONTEXTS.index(context) + 1])


def test_an_undecided_context_becomes_the_most_that_a_run_can_state():
    assert Condition().with_context("none").context == "none"
    assert Condition().with_context("history").context == "history"
    with pytest.raises(ConfigError, match="choose the context none"):
        Condition(context="item").with_context("none")


def test_a_system_is_told_the_fields_that_it_uses():
    condition = Condition("given", "none", "item")
    assert condition.told({"rating", "feature", "context"}) == {"rating": "given", "context": "item"}
    assert condition.told(()) == {}
    assert Condition().told({"context"}) == {"context": "history"}


@pytest.mark.parametrize(
    ("settings", "base", "uses_context"),
    [
        ({}, None, False),
        ({}, "a/base", True),
        ({"explainer.prompt_template": "natural"}, None, True),
        ({"explainer.prompt_template": "special-tokens"}, "a/base", False),
    ],
)
def test_gavamoe_uses_the_context_of_a_comparison_if_its_prompts_are_in_words(settings, base, uses_context):
    config = CompareConfig(
        models=("gavamoe", "gavamoe-one-gate", "peter"),
        base_model=base,
        settings=settings,
        conditions=[{"context": "item"}],
    )
    specs = {spec.name: spec for spec in resolve_systems(config)}
    assert ("context" in specs["gavamoe"].inputs) == uses_context
    assert ("context" in specs["gavamoe-one-gate"].inputs) == uses_context
    assert "context" not in specs["peter"].inputs
    (entry,) = config.conditions
    table = type("Table", (), {"condition": entry.condition, "has_texts": True})
    assert describe_condition(table) == "rating predicted, feature predicted, context item"
