"""The preference model and its training: saving, prediction, reproducibility, resume."""

import numpy as np
import pytest
import torch
from helpers.weights import assert_same_weights

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.simulate import World, simulate
from gavamoe.errors import ConfigError
from gavamoe.preference import trainer
from gavamoe.preference.model import PreferenceModel, mean_by_id
from gavamoe.preference.trainer import best_record, fit_preference

SMALL = PreferenceConfig(
    clusters=2, latent=4, embedding=8, hidden=8, pretrain_epochs=4, epochs=5, warmup_epochs=2, restarts=1
)


def a_model() -> PreferenceModel:
    torch.manual_seed(0)
    return PreferenceModel(users=30, items=20, levels=5, clusters=2, latent=4, embedding=8, hidden=8)


def some_pairs(seed: int, count: int) -> InteractionArrays:
    rng = np.random.default_rng(seed)
    return InteractionArrays(rng.integers(1, 31, count), rng.integers(1, 21, count), rng.integers(1, 6, count))


def test_a_saved_model_loads_bit_equal_and_nothing_is_printed(tmp_path, capsys):
    model = a_model()
    model.save_pretrained(tmp_path)
    loaded = PreferenceModel.from_pretrained(tmp_path)
    assert_same_weights(model.state_dict(), loaded.state_dict())
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("*.bin"))


def test_an_unknown_pair_gets_a_rating_within_the_scale_and_responsibilities():
    model = a_model()
    unknown = torch.zeros(3, dtype=torch.long)
    assert ((model.predict_rating(unknown, unknown) >= 1) & (model.predict_rating(unknown, unknown) <= 5)).all()
    torch.testing.assert_close(model.responsibilities(unknown, unknown).sum(-1), torch.ones(3))


def test_a_user_profile_is_the_mean_responsibility_of_the_users_pairs():
    model = a_model()
    user, item = torch.tensor([4, 4, 9]), torch.tensor([1, 2, 3])
    profile = model.user_profile(user, item)
    torch.testing.assert_close(profile[4], model.responsibilities(user, item)[:2].mean(0))
    assert profile.shape == (31, 2)
    assert (profile[5] == 0).all()


@pytest.mark.parametrize("pairs", [0, 1, 500])
def test_means_by_id_are_those_that_numpy_adds_in_the_order_of_the_pairs(pairs):
    rng = np.random.default_rng(pairs)
    gamma, ids = rng.dirichlet(np.ones(3), pairs), rng.integers(0, 8, pairs)
    total = np.zeros((10, 3))
    np.add.at(total, ids, gamma)
    expected = total / np.maximum(np.bincount(ids, minlength=10), 1)[:, None]
    np.testing.assert_array_equal(mean_by_id(torch.from_numpy(gamma), torch.from_numpy(ids), 9).numpy(), expected)


def test_the_same_seed_gives_the_same_weights_and_keeps_the_callers_random_state():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    models = [a_model(), a_model()]
    torch.manual_seed(7)
    for model in models:
        fit_preference(model, some_pairs(0, 200), some_pairs(1, 50), SMALL, seed=3)
    assert torch.equal(torch.rand(1), expected)
    for left, right in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("stop_after", [2, 6])
def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, monkeypatch, stop_after):
    train, valid = some_pairs(0, 200), some_pairs(1, 50)
    uninterrupted = a_model()
    history = fit_preference(uninterrupted, train, valid, SMALL, seed=3)

    saves = 0

    def save_then_stop(path, state):
        nonlocal saves
        real_save(path, state)
        saves += 1
        if saves == stop_after:
            raise KeyboardInterrupt

    real_save = trainer.save_state
    monkeypatch.setattr(trainer, "save_state", save_then_stop)
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit_preference(a_model(), train, valid, SMALL, seed=3, checkpoint=path)
    resumed = a_model()
    assert fit_preference(resumed, train, valid, SMALL, seed=3, checkpoint=path) == history
    for left, right in zip(uninterrupted.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_more_clusters_than_users_is_a_config_error():
    config = SMALL.model_copy(update={"clusters": 25})
    model = PreferenceModel(30, 20, 5, clusters=25, latent=4, embedding=8, hidden=8)
    pairs = InteractionArrays(np.array([1, 2, 3]), np.array([1, 2, 3]), np.array([1, 2, 3]))
    with pytest.raises(ConfigError, match=r"25 clusters need .* preference.clusters"):
        fit_preference(model, pairs, pairs, config)


def test_a_collapsed_training_is_logged_with_the_setting_to_change(caplog):
    model = a_model()
    fit_preference(
        model, some_pairs(0, 200), some_pairs(1, 50), SMALL.model_copy(update={"beta": 500.0, "learning_rate": 0.05})
    )
    assert "stage 1 collapsed" in caplog.text
    assert "lower preference.beta" in caplog.text


def test_training_keeps_the_unknown_id_at_the_shared_embedding():
    model = a_model()
    fit_preference(model, some_pairs(0, 200), some_pairs(1, 50), SMALL)
    users, items = model.embedding_tables()
    assert torch.equal(users[0], model.encoder.user.typical_E)
    assert torch.equal(items[0], model.encoder.item.typical_E)
    assert not torch.equal(model.encoder.user.typical_E, torch.zeros(8))


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [3, 8])
def test_training_finds_the_clusters_of_a_separable_world(clusters):
    from sklearn.metrics import adjusted_rand_score

    frame = simulate(World(users=100 * clusters, items=30 * clusters, reviews=3000 * clusters, clusters=clusters))
    user, item = (np.unique(frame[name].to_numpy(), return_inverse=True)[1] + 1 for name in ("user", "item"))
    level, held_out = frame["rating"].to_numpy().astype(int), np.random.default_rng(0).random(len(frame)) < 0.1
    train, valid = (InteractionArrays(user[rows], item[rows], level[rows]) for rows in (~held_out, held_out))
    config = PreferenceConfig(clusters=clusters)
    model = PreferenceModel.from_config(int(user.max()), int(item.max()), 5, config)
    history = fit_preference(model, train, valid, config)
    found = model.assign(torch.from_numpy(user), torch.from_numpy(item)).numpy()
    assert adjusted_rand_score(frame["cluster"].to_numpy(), found) > 0.9
    assert history[-1]["live_clusters"] == clusters
    mean_error = np.sqrt(np.mean((level[held_out] - level[~held_out].mean()) ** 2))
    assert best_record(history)["valid_rmse"] < 0.6 * mean_error
