"""Tables whose ids may share rows, and stage 1 with such a table of users."""

import dataclasses

import numpy as np
import torch
from helpers.weights import assert_same_weights
from hypothesis import given
from hypothesis import strategies as st

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.id_map import IdMap
from gavamoe.preference.fold_in import infer_user, with_guests
from gavamoe.preference.id_table import IdTable, extend_rows, share_rows, shared_rows
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import fit_preference
from gavamoe.preference.warm_start import warm_model

USERS, ITEMS, ROWS = 200, 30, 40
CONFIG = PreferenceConfig(
    clusters=2,
    latent=4,
    embedding=8,
    hidden=8,
    pretrain_epochs=3,
    epochs=3,
    warmup_epochs=1,
    restarts=1,
    user_rows=ROWS,
)


def some_pairs(seed: int, count: int = 900) -> InteractionArrays:
    """Return interactions in which low user ids are frequent."""
    rng = np.random.default_rng(seed)
    users = 1 + np.minimum((USERS * rng.random(count) ** 3).astype(np.int64), USERS - 1)
    return InteractionArrays(users, rng.integers(1, ITEMS + 1, count), rng.integers(1, 6, count))


def a_trained_model(**changes) -> PreferenceModel:
    config = CONFIG.model_copy(update=changes)
    model = PreferenceModel.from_config(USERS, ITEMS, 5, config)
    fit_preference(model, some_pairs(0), some_pairs(1, 200), config)
    return model.eval()


@given(st.lists(st.integers(0, 50), min_size=12, max_size=80), st.data())
def test_frequent_ids_have_rows_of_their_own_and_the_others_share(counts, data):
    rows = data.draw(st.integers(2, len(counts) - 1))
    count_N = np.array([0, *counts])
    row_N = share_rows(count_N, rows).numpy()
    shared = shared_rows(rows)
    own = row_N > shared
    assert row_N[0] == 0
    assert (row_N[1:] > 0).all()
    assert row_N.max() <= rows
    assert own.sum() == rows - shared == len(np.unique(row_N[own]))
    assert count_N[own].min(initial=51) >= count_N[1:][~own[1:]].max(initial=0)


def test_ids_that_share_a_row_have_one_vector_and_train_it_together():
    table = IdTable(5, 3, rows=2, zero_unknown=True)
    assert not table.has_rows
    table.set_rows(torch.tensor([0, 1, 1, 2, 1], dtype=torch.int32))
    ids = torch.arange(5)
    vectors = table(ids)
    assert table.has_rows
    assert torch.equal(vectors[1], vectors[4])
    vectors.sum().backward()
    assert table.weight.grad[:, 0].tolist() == [0, 3, 1]


def test_a_table_with_a_row_for_each_id_is_a_plain_embedding():
    torch.manual_seed(0)
    table = IdTable(6, 3)
    torch.manual_seed(0)
    plain = torch.nn.Embedding(6, 3)
    assert_same_weights(table.state_dict(), plain.state_dict())
    assert table.rows(torch.arange(6)).tolist() == list(range(6))


def test_stage_1_holds_as_many_rows_as_it_may_and_tells_apart_frequent_users_only(tmp_path):
    model = a_trained_model()
    count_U = np.bincount(some_pairs(0).user_id, minlength=USERS + 1)
    assert model.encoder.user.offset.weight.shape == (ROWS + 1, 8)
    rare = torch.from_numpy(np.flatnonzero(count_U[1:] <= 1) + 1)
    frequent = torch.from_numpy(np.argsort(-count_U[1:], kind="stable")[:20] + 1)
    item = torch.ones(20, dtype=torch.long)
    assert len(model.predict_rating(frequent, item).unique()) == 20
    assert len(model.predict_rating(rare, torch.ones_like(rare)).unique()) <= shared_rows(ROWS)
    model.save_pretrained(tmp_path)
    loaded = PreferenceModel.from_pretrained(tmp_path).eval()
    everyone = torch.arange(USERS + 1)
    assert torch.equal(loaded.latent_means()[0], model.latent_means()[0])
    torch.testing.assert_close(model.latent_means()[0], model.encoder.user(everyone)[0])


def test_as_many_rows_as_users_change_nothing():
    assert_same_weights(a_trained_model(user_rows=USERS).state_dict(), a_trained_model(user_rows=None).state_dict())


def test_a_guest_of_shared_rows_is_the_posterior_mean_of_the_users_vectors():
    model = a_trained_model()
    estimate = infer_user(model, [1, 2, 3], [5, 1, 4])
    guest = with_guests(model, [estimate]).encoder.user.vectors(torch.tensor([USERS + 1]))[0]
    expected = estimate.weights @ model.encoder.user.vectors(estimate.user_ids)
    torch.testing.assert_close(guest, expected)


def test_an_update_keeps_the_rows_of_known_users_and_new_users_share():
    trained = a_trained_model()
    newer = np.concatenate([[0], np.random.default_rng(0).permutation(USERS) + 1, np.zeros(10, np.int64)])
    ids = IdMap(newer, np.arange(ITEMS + 1), 0, 0)
    pairs = dataclasses.replace(some_pairs(3))
    model = warm_model(trained, ids, pairs)
    assert model.users == USERS + 10
    assert model.encoder.user.offset.weight.shape == trained.encoder.user.offset.weight.shape
    known, item = torch.arange(1, USERS + 1), torch.ones(USERS, dtype=torch.long)
    before = trained.predict_rating(torch.from_numpy(newer[1 : USERS + 1]), item)
    torch.testing.assert_close(model.predict_rating(known, item), before)
    rows = extend_rows(trained.user_row_N, newer, ROWS)
    assert (rows[-10:] >= 1).all()
    assert (rows[-10:] <= shared_rows(ROWS)).all()
