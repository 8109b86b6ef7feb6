"""Item features from descriptions, and new items that have only those."""

import numpy as np
import polars as pl
import pytest
import torch

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.errors import ConfigError
from gavamoe.preference.item_features import ItemText
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference

CONFIG = PreferenceConfig(clusters=2, latent=4, embedding=8, hidden=8, item_features=2, pretrain_epochs=4, epochs=4)


def described(kinds: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "title": [None] * len(kinds),
            "categories": [[kind] for kind in kinds],
            "description": [f"a {kind} tale of the old {kind}" for kind in kinds],
        },
        schema_overrides={"title": pl.String},
    )


def test_similar_items_get_similar_vectors_and_an_empty_description_gets_zero():
    known = described(["western", "play"] * 10)
    text = ItemText(known, 2)
    new = pl.concat([described(["western"]), known.head(1).with_columns(categories=None, description=None)])
    vectors = text.vectors(new)
    torch.testing.assert_close(vectors[0], text.vectors(known)[0])
    assert (vectors[1] == 0).all()


def test_too_few_shared_words_are_a_config_error():
    with pytest.raises(ConfigError, match=r"set preference\.item_features lower"):
        ItemText(described(["western", "play"] * 10), 30)
    with pytest.raises(ConfigError, match="no two items share a word"):
        ItemText(described(["western"]).with_columns(categories=None, description=None), 2)


@pytest.fixture(scope="module")
def fans() -> tuple[PreferenceModel, torch.Tensor]:
    """Users 1..20 love westerns, users 21..40 plays; trained on 30 items, with the features of two new ones."""
    rng = np.random.default_rng(0)
    kinds = ["western", "play"] * 15
    text = ItemText(described(kinds), 2)
    user, item = rng.integers(1, 41, 3000), rng.integers(1, 31, 3000)
    level = np.where((user <= 20) == (item % 2 == 1), 4, 2) + rng.integers(0, 2, 3000)
    parts = [InteractionArrays(user[part], item[part], level[part]) for part in np.split(np.arange(3000), [2700])]
    model = PreferenceModel.from_config(40, 30, 5, CONFIG)
    model.set_item_features(text.vectors(described(kinds)))
    fit_preference(model, *parts, CONFIG)
    return model, text.vectors(described(["western", "play"]))


def test_a_new_item_is_rated_like_similar_known_items(fans):
    model, features = fans
    wider = model.with_new_items(features)
    western, play = torch.full((20,), 31), torch.full((20,), 32)
    fans_of_westerns, fans_of_plays = torch.arange(1, 21), torch.arange(21, 41)
    assert (wider.predict_rating(fans_of_westerns, western) > wider.predict_rating(fans_of_westerns, play)).all()
    assert (wider.predict_rating(fans_of_plays, play) > wider.predict_rating(fans_of_plays, western)).all()


def test_new_items_do_not_change_predictions_for_known_items(fans, tmp_path):
    model, features = fans
    wider = model.with_new_items(features)
    user, item = torch.arange(41).repeat_interleave(31), torch.arange(31).repeat(41)
    assert torch.equal(model.predict_rating(user, item), wider.predict_rating(user, item))
    wider.save_pretrained(tmp_path)
    again = PreferenceModel.from_pretrained(tmp_path)
    assert torch.equal(
        again.latent(user[:3], torch.tensor([31, 32, 0])), wider.latent(user[:3], torch.tensor([31, 32, 0]))
    )


def test_wrong_feature_shapes_and_models_without_features_are_config_errors():
    with pytest.raises(ConfigError, match="expected item features of shape"):
        PreferenceModel.from_config(40, 30, 5, CONFIG).set_item_features(torch.zeros(30, 3))
    plain = PreferenceModel(users=2, items=2, levels=5)
    with pytest.raises(ConfigError, match="trained without item features"):
        plain.with_new_items(torch.zeros(1, 3))
