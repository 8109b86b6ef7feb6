"""The contract of every registered system and of Explainer: unknown users and items, no pairs, saving and loading.

A system is tested because it is registered; nothing here names one but a plugin that may be missing.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from gavamoe.baselines.base import Predictions
from gavamoe.baselines.data import TextData
from gavamoe.baselines.registry import SystemContext, registered_systems
from gavamoe.conditions import Condition
from gavamoe.config import parse_config
from gavamoe.data.dataset import ReviewDataset
from gavamoe.errors import InputError
from gavamoe.experiments import ablations  # noqa: F401 (registers GaVaMoE and its ablations)
from gavamoe.explainer.explainer import Explainer

PARAMETERS = 20_000
SETTINGS = {
    "preference": {"clusters": 2, "latent": 4, "embedding": 4, "hidden": 8, "pretrain_epochs": 1, "epochs": 1},
    "explainer": {
        **{"hidden": 16, "layers": 1, "heads": 2, "vocabulary": 300, "expert_width": 16, "soft_token_width": 4},
        **{"epochs": 1, "max_tokens": 12, "candidates": 1, "batch_size": 64, "experts": 2, "top_k": 1},
    },
}
SETTINGS["preference"]["restarts"] = 1


@pytest.fixture(scope="module")
def data(dataset_path) -> TextData:
    return TextData.from_dataset(ReviewDataset.load(dataset_path), parse_config(SETTINGS).explainer)


def create(name: str):
    """Return an untrained system, or skip where a library that it needs is not installed."""
    registered, config = registered_systems()[name], parse_config(SETTINGS)
    changed = registered.settings(config) if registered.settings else {}
    explainer = {key.partition(".")[2]: value for key, value in changed.items()}
    config = config.model_copy(update={"explainer": config.explainer.model_copy(update=explainer)})
    context = SystemContext(config, "tiny", parameters=PARAMETERS)
    try:
        registered.check(context)
    except InputError as error:
        pytest.skip(str(error))
    return registered.factory(context)


@pytest.fixture(scope="module", params=sorted(registered_systems()))
def fitted(request, data, tmp_path_factory):
    """A trained system with its name and the directory it was saved to."""
    directory = tmp_path_factory.mktemp(request.param.replace("+", "-plus"))
    system = create(request.param)
    system.fit(data, 0, directory)
    return request.param, system, directory


def check(predicted: Predictions, name: str, data: TextData, count: int) -> None:
    """Check that there are `count` texts and ratings, of the kind that the system says it predicts."""
    assert predicted.texts is not None or predicted.ratings is not None
    assert predicted.texts is not None or not registered_systems()[name].needs_texts
    if predicted.texts is not None:
        assert len(predicted.texts) == count
        assert all(isinstance(text, str) and "<|" not in text for text in predicted.texts)
    if predicted.ratings is not None:
        assert predicted.ratings.shape == (count,)
        assert np.isfinite(predicted.ratings).all()
        if registered_systems()[name].needs_texts:
            assert ((predicted.ratings >= data.scale.values[0]) & (predicted.ratings <= data.scale.values[-1])).all()


@pytest.mark.parametrize("unknown", ["user", "item", "user item"])
def test_unknown_users_and_items_get_a_prediction(fitted, data, unknown):
    name, system, _ = fitted
    pairs = data.valid.head(3)
    for column in unknown.split():
        pairs = pairs.with_columns(pl.lit("nobody").alias(column), pl.lit(0, pl.Int64).alias(f"{column}_id"))
    check(system.predict(pairs, Condition()), name, data, 3)


def test_an_empty_table_of_pairs_gives_an_empty_prediction(fitted, data):
    name, system, _ = fitted
    check(system.predict(data.valid.head(0), Condition()), name, data, 0)


def test_a_loaded_system_predicts_the_same(fitted, data):
    name, system, directory = fitted
    again = create(name)
    again.load(data, 0, directory)
    pairs = data.valid.head(4)
    before, after = system.predict(pairs, Condition()), again.predict(pairs, Condition())
    assert after.texts == before.texts
    if before.ratings is not None:
        np.testing.assert_array_equal(after.ratings, before.ratings)


# --- Explainer ---


def test_the_explainer_answers_for_unknown_users_and_items_and_says_so(explainer):
    known = explainer.catalog.users["user"][1], explainer.catalog.items["item"][1]
    for user, item in ((known[0], "new"), ("new", known[1]), ("new", "newer")):
        explanation = explainer.explain(user, item)
        assert (explanation.cold_user, explanation.cold_item) == (user == "new", item != known[1])
        assert explanation.user_source == ("unknown" if user == "new" else "training")
        assert sum(explanation.responsibilities) == pytest.approx(1)


def test_the_explainer_explains_no_pairs(explainer):
    assert explainer.explain_batch([]) == []


def test_the_explainer_estimates_an_unknown_user_from_a_history(explainer):
    items = explainer.catalog.items["item"][1:5].to_list()
    history = [{"item": item, "rating": rating} for item, rating in zip(items, (5, 5, 1, 4), strict=True)]
    told, untold = explainer.explain("new", items[0], history=history), explainer.explain("new", items[0])
    assert (told.user_source, untold.user_source) == ("history", "unknown")
    assert told.responsibilities != untold.responsibilities


def test_a_saved_explainer_writes_the_same_texts(explainer, tmp_path):
    pairs = [(user, "i1") for user in [*explainer.catalog.users["user"][1:4], "new"]]
    explainer.save_pretrained(tmp_path / "saved")
    again = Explainer.from_pretrained(tmp_path / "saved")
    assert again.explain_batch(pairs) == explainer.explain_batch(pairs)
