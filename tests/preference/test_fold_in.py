"""The estimate of a user whom the model does not know, from rated items, on a simulated world with held-out users."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import torch
from helpers.weights import assert_same_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.simulate import World, simulate
from gavamoe.errors import DataError
from gavamoe.preference.fold_in import UserEstimate, infer_user, with_guests
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference

USERS, ITEMS, HELD_OUT, TEST = 240, 60, 40, 8  # the last HELD_OUT users; the last TEST reviews of each of them
CONFIG = PreferenceConfig(clusters=3, latent=8, embedding=16, hidden=16, pretrain_epochs=8, epochs=8, restarts=1)


@dataclass(frozen=True)
class FoldInWorld:
    """A model trained without the held-out users, one trained with their histories, and all reviews.

    Args:
        without: trained on the other users.
        trained: trained on the other users and on the histories of the held-out users.
        reviews: (item, level) rows of each user, [n, 2], by user id from 1.
    """

    without: PreferenceModel
    trained: PreferenceModel
    reviews: dict[int, np.ndarray]

    @property
    def held_out(self) -> list[int]:
        return [user for user in range(USERS - HELD_OUT + 1, USERS + 1) if len(self.reviews[user]) >= TEST + 12]

    def rmse(self, predict) -> float:
        """Return the RMSE of predict(user, items) over the test reviews of the held-out users, in levels."""
        errors = []
        for user in self.held_out:
            item, level = self.reviews[user][-TEST:].T
            errors.append(predict(user, torch.tensor(item)).numpy() - level)
        return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))

    def predict(self, user: int, item: torch.Tensor, length: int | None = None) -> torch.Tensor:
        """Return the ratings of a held-out user from the first `length` reviews of the history."""
        known, level = self.reviews[user][:-TEST][:length].T
        estimate = infer_user(self.without, known.tolist(), level.tolist())
        guest = torch.full_like(item, self.without.users + 1)
        return with_guests(self.without, [estimate]).predict_rating(guest, item)


def embedding(model: PreferenceModel, estimate: UserEstimate) -> torch.Tensor:
    return estimate.mean_row(model.embedding_tables()[0])


@pytest.fixture(scope="module")
def world() -> FoldInWorld:
    frame = simulate(World(users=USERS, items=ITEMS, reviews=24 * USERS, clusters=3, taste_spread=0.3))
    rows = np.stack(
        [frame[name].rank("dense").cast(pl.Int64).to_numpy() for name in ("user", "item")]
        + [frame["rating"].cast(pl.Int64).to_numpy()],
        axis=1,
    )
    rows = np.random.default_rng(0).permutation(rows)
    reviews = {user: rows[rows[:, 0] == user, 1:] for user in range(1, USERS + 1)}
    first_held_out = USERS - HELD_OUT + 1

    def train(users: int) -> PreferenceModel:
        part = [
            np.column_stack([np.full(len(own), user), own])
            for user in range(1, users + 1)
            for own in [reviews[user][:-TEST] if user >= first_held_out else reviews[user]]
        ]
        table = np.random.default_rng(1).permutation(np.concatenate(part))
        cut = len(table) // 10
        valid, training = (InteractionArrays(*each.T) for each in (table[:cut], table[cut:]))
        model = PreferenceModel.from_config(users, ITEMS, 5, CONFIG)
        fit_preference(model, training, valid, CONFIG)
        return model.eval()

    return FoldInWorld(train(first_held_out - 1), train(USERS), reviews)


def test_inferred_ratings_of_held_out_users_beat_the_unknown_user_and_approach_the_trained_one(world):
    unknown = world.rmse(lambda _, item: world.without.predict_rating(torch.zeros_like(item), item))
    trained = world.rmse(lambda user, item: world.trained.predict_rating(torch.full_like(item, user), item))
    inferred = world.rmse(world.predict)
    assert trained < unknown
    assert inferred < unknown - 0.7 * (unknown - trained)  # at least 70% of what training gains


def test_a_longer_history_gives_better_ratings_on_average(world):
    rmse = [world.rmse(lambda user, item, n=length: world.predict(user, item, n)) for length in (0, 1, 2, 3, 5, 12)]
    assert rmse == sorted(rmse, reverse=True)


def test_the_training_reviews_of_a_known_user_give_a_latent_near_the_trained_one(world):
    users = range(1, 41)
    trained = world.without.latent_means()[0][1:41]
    estimates = [infer_user(world.without, *world.reviews[user].T.tolist()) for user in users]
    guests = torch.arange(1, 41) + world.without.users
    inferred = with_guests(world.without, estimates).encoder.user(guests)[0].detach()
    spread = trained.std(0)
    live = spread > 0.3 * spread.max()  # a dimension that no user moves has nothing to correlate
    correlation = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(trained.T, inferred.T, strict=True)]
    assert min(np.array(correlation)[live.numpy()]) > 0.8


@settings(max_examples=15)
@given(order=st.permutations(range(12)))
def test_the_order_of_the_history_does_not_change_a_bit(world, order):
    item, level = world.reviews[USERS][:12].T
    expected = infer_user(world.without, item.tolist(), level.tolist())
    found = infer_user(world.without, item[order].tolist(), level[order].tolist())
    assert torch.equal(embedding(world.without, found), embedding(world.without, expected))


def test_an_empty_history_is_the_unknown_user_and_unknown_items_are_ignored_and_reported(world):
    model, item = world.without, torch.arange(ITEMS + 1)
    empty = infer_user(model, [], [])
    guest, unknown = torch.full_like(item, model.users + 1), torch.zeros_like(item)
    view = with_guests(model, [empty])
    torch.testing.assert_close(view.predict_rating(guest, item), model.predict_rating(unknown, item))
    torch.testing.assert_close(view.responsibilities(guest, item), model.responsibilities(unknown, item))
    partly = infer_user(model, [0, 4, 0], [1, 5, 2])
    assert (partly.ratings, partly.ignored) == (1, (0, 2))
    assert torch.equal(embedding(model, partly), embedding(model, infer_user(model, [4], [5])))


def test_guests_change_nothing_for_trained_users_and_do_not_depend_on_each_other(world):
    model, item = world.without, torch.arange(1, 21)
    estimates = [infer_user(model, [1, 2], [5, 1]), infer_user(model, [3], [2])]
    both, second = with_guests(model, estimates), with_guests(model, estimates[1:])
    known = torch.arange(1, 21)
    assert torch.equal(both.predict_rating(known, item), model.predict_rating(known, item))
    first_id = torch.full_like(item, model.users + 1)
    assert torch.equal(both.predict_rating(first_id + 1, item), second.predict_rating(first_id, item))
    assert not torch.equal(both.predict_rating(first_id, item), both.predict_rating(first_id + 1, item))


def test_the_weights_of_a_history_are_the_posterior_by_bayes_rule(world):
    model = world.without
    estimate = infer_user(model, [7, 9], [4, 2])
    users = torch.arange(1, model.users + 1)
    with torch.no_grad():
        p = torch.ones(model.users, dtype=torch.float64)
        for item, level in ((7, 4), (9, 2)):
            z = torch.cat(
                [model.encoder.user(users)[0], model.encoder.item(torch.tensor([item]))[0].expand(len(users), -1)], -1
            )
            p *= model.decoder(z).double().softmax(-1)[:, level - 1]
    posterior = p / p.sum()
    torch.testing.assert_close(estimate.weights.double(), posterior[estimate.user_ids - 1], rtol=1e-3, atol=1e-5)
    assert float(posterior[estimate.user_ids - 1].sum()) > 0.999


def test_an_inference_changes_no_weight_no_gradient_and_no_random_state(world):
    model = world.without
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    flags = [weight.requires_grad for weight in model.parameters()]
    gradients = [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]
    random_state = torch.get_rng_state()
    with torch.no_grad():
        estimate = infer_user(model, [1, 2, 3], [5, 1, 4])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert_same_weights(model.state_dict(), before)
    assert [weight.requires_grad for weight in model.parameters()] == flags
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        assert (weight.grad is None) == (gradient is None)
        assert gradient is None or (weight.grad.to_dense() == gradient.to_dense()).all()
    assert model.users == USERS - HELD_OUT
    assert embedding(model, estimate).shape == (CONFIG.embedding,)


@pytest.mark.parametrize(
    ("items", "levels", "message"),
    [([1], [], "1 items and 0 levels"), ([1], [6], "level 6"), ([ITEMS + 1], [1], "item id 61"), ([-1], [1], "id -1")],
)
def test_an_id_or_level_out_of_range_is_refused(world, items, levels, message):
    with pytest.raises(DataError, match=message):
        infer_user(world.without, items, levels)
