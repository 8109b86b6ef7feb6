"""Warm start and update of stage 1: rows by name, estimates for new ids, clusters that keep their numbers."""

from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from gavamoe.config import PreferenceConfig
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.id_map import IdMap, count_known_pairs
from gavamoe.data.scale import RatingScale
from gavamoe.data.simulate import World, simulate
from gavamoe.preference import posterior
from gavamoe.preference.fold_in import infer_user
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import best_record, fit_preference
from gavamoe.preference.update import PreferenceUpdate
from gavamoe.preference.warm_start import align_features, user_clusters, user_responsibilities, warm_model

CONFIG = PreferenceConfig(clusters=3, pretrain_epochs=15, epochs=15, restarts=3)


def catalog_of(reviews):
    """Return a catalog of the names in the reviews, and the reviews with ids."""
    sides = {
        side: pl.DataFrame({side: reviews[side].unique().sort()}).with_row_index(f"{side}_id", offset=1)
        for side in ("user", "item")
    }
    encoded = reviews.join(sides["user"], on="user").join(sides["item"], on="item").with_columns(level="rating")
    history = encoded.select(pl.col("user_id", "item_id").cast(pl.Int32), "level")
    return Catalog(sides["user"], sides["item"], history, RatingScale.between(1, 5)), encoded


def arrays(encoded, rows):
    part = encoded.filter(pl.Series(rows))
    return InteractionArrays(*(part[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id", "level")))


def rmse(model, pairs, users=None, items=None):
    user, item = pairs.user_id, pairs.item_id
    if users is not None:
        user, item = users[user], items[item]
    predicted = model.predict_rating(torch.from_numpy(user), torch.from_numpy(item)).numpy()
    return float(np.sqrt(np.mean((predicted - pairs.level) ** 2)))


class Stream:
    """A world that grows: a quarter of its users and a fifth of its items are reviewed only in its second part."""

    def __init__(self, world, config):
        reviews, rng = simulate(world), np.random.default_rng(world.seed)
        late = {
            side: set(rng.choice(sorted(set(reviews[side])), round(share * reviews[side].n_unique()), replace=False))
            for side, share in (("user", 0.25), ("item", 0.2))
        }
        is_late = [u in late["user"] or i in late["item"] for u, i in reviews.select("user", "item").iter_rows()]
        is_old = ~np.array(is_late) & (rng.random(len(reviews)) < 0.7)
        part = rng.choice(["train", "valid", "test"], len(reviews), p=[0.8, 0.1, 0.1])
        self.late, self.config = late, config
        reviews = reviews.with_columns(part=pl.Series(part))
        self.old_catalog, old = catalog_of(reviews.filter(pl.Series(is_old)))
        self.catalog, self.reviews = catalog_of(reviews)
        self.old = {name: arrays(old, old["part"].to_numpy() == name) for name in ("train", "valid")}
        self.new = {name: arrays(self.reviews, self.reviews["part"].to_numpy() == name) for name in set(part)}
        self.ids = IdMap.between(self.old_catalog, self.catalog)
        self.trained = self.fit(self.old_catalog, self.old)

    def fit(self, catalog, data):
        model = PreferenceModel.from_config(catalog.n_users, catalog.n_items, 5, self.config)
        self.history = fit_preference(model, data["train"], data["valid"], self.config)
        return model.eval()

    def update(self):
        warm = warm_model(self.trained, self.ids, self.new["train"])
        trainer = partial(PreferenceUpdate, anchor_U=user_clusters(self.trained, self.ids))
        self.history = fit_preference(warm, self.new["train"], self.new["valid"], self.config, trainer=trainer)
        return warm.eval()

    def same_clusters(self, model):
        """Return the clusters of known pairs before and after."""
        pairs, ids = self.new["train"], self.ids
        known = (ids.user[pairs.user_id] > 0) & (ids.item[pairs.item_id] > 0)
        user, item = pairs.user_id[known], pairs.item_id[known]
        before = self.trained.assign(torch.from_numpy(ids.user[user]), torch.from_numpy(ids.item[item]))
        return before.numpy(), model.assign(torch.from_numpy(user), torch.from_numpy(item)).numpy()


@pytest.fixture(scope="module")
def stream():
    return Stream(World(users=120, items=50, reviews=3000, clusters=3), CONFIG)


@pytest.fixture(scope="module")
def warm(stream):
    return warm_model(stream.trained, stream.ids, stream.new["train"])


def test_known_pairs_are_predicted_exactly_as_before(stream, warm):
    user = torch.from_numpy(np.flatnonzero(stream.ids.user))
    item = torch.from_numpy(np.flatnonzero(stream.ids.item)[: len(user)]).repeat(len(user))[: len(user)]
    before = stream.trained.predict_rating(
        torch.from_numpy(stream.ids.user)[user], torch.from_numpy(stream.ids.item)[item]
    )
    torch.testing.assert_close(warm.predict_rating(user, item), before)


def test_new_ids_start_far_better_than_the_unknown_id(stream, warm):
    test = stream.new["test"]
    frozen = rmse(stream.trained, test, stream.ids.user, stream.ids.item)
    assert rmse(warm, test) < 0.85 * frozen


@pytest.mark.parametrize("prior", [20, 4_096])
def test_a_new_user_of_an_update_starts_as_a_guest_with_the_same_ratings(stream, prior, monkeypatch):
    monkeypatch.setattr(posterior, "PRIOR_IDS", prior)
    warm, train = warm_model(stream.trained, stream.ids, stream.new["train"]), stream.new["train"]
    new = [user for user in np.unique(train.user_id) if stream.ids.user[user] == 0]
    assert len(new) > 20
    for user in new:
        item, level = stream.ids.item[train.item_id[train.user_id == user]], train.level[train.user_id == user]
        guest = infer_user(stream.trained, item.tolist(), level.tolist())
        expected = guest.mean_row(stream.trained.encoder.user.offset.weight)
        torch.testing.assert_close(warm.encoder.user.offset.weight[user], expected, rtol=1e-3, atol=1e-4)


def test_a_new_id_without_a_rating_of_a_known_one_starts_as_unknown(stream):
    nothing = InteractionArrays(*(np.zeros(0, np.int64) for _ in range(3)))
    cold = warm_model(stream.trained, stream.ids, nothing)
    new = torch.from_numpy(np.flatnonzero(stream.ids.user == 0))
    item = torch.ones_like(new)
    predicted = cold.predict_rating(new, item)
    torch.testing.assert_close(predicted, predicted[:1].expand_as(predicted))


def test_a_new_user_gets_the_cluster_of_its_true_group(stream, warm):
    names = stream.catalog.user_names
    group = dict(stream.reviews.select("user", "cluster").iter_rows())
    cluster = user_responsibilities(warm).argmax(-1).numpy()
    known = [u for u in range(1, len(names)) if names[u] not in stream.late["user"]]
    new = [u for u in range(1, len(names)) if names[u] in stream.late["user"]]
    usual = {c: np.bincount([group[names[u]] for u in known if cluster[u] == c]).argmax() for c in set(cluster[known])}
    assert np.mean([usual.get(cluster[u]) == group[names[u]] for u in new]) > 0.8


def test_an_update_improves_on_the_warm_start_and_keeps_cluster_numbers(stream, warm):
    before = rmse(warm, stream.new["test"])
    updated = stream.update()
    assert rmse(updated, stream.new["test"]) < before
    old, new = stream.same_clusters(updated)
    assert np.mean(old == new) > 0.95
    start, best = stream.history[0], best_record(stream.history)
    assert (start["epoch"], start["settled"]) == (0, True)
    assert best["valid_objective"] <= start["valid_objective"]


@pytest.mark.slow
def test_an_update_without_new_data_stays_near_its_objective(stream):
    config, source = stream.config, best_record(stream.fit(stream.old_catalog, stream.old) and stream.history)
    ids = IdMap.between(stream.old_catalog, stream.old_catalog)
    model = warm_model(stream.trained, ids, stream.old["train"])
    anchor = user_clusters(stream.trained, ids)
    trainer = partial(PreferenceUpdate, anchor_U=anchor)
    history = fit_preference(model, stream.old["train"], stream.old["valid"], config, trainer=trainer)
    assert history[0]["valid_objective"] == pytest.approx(source["valid_objective"], rel=0.05)
    assert best_record(history)["valid_objective"] <= history[0]["valid_objective"]
    pairs = tuple(map(torch.from_numpy, (stream.old["train"].user_id, stream.old["train"].item_id)))
    assert adjusted_rand_score(stream.trained.assign(*pairs), model.eval().assign(*pairs)) > 0.95


def test_the_map_of_ids_goes_by_name_and_counts_what_is_new_and_lost():
    old, _ = catalog_of(pl.DataFrame({"user": ["b", "d"], "item": ["x", "y"], "rating": [1, 2]}))
    frame = pl.DataFrame({"user": ["a", "b", "c"], "item": ["x", "z", "x"], "rating": [1, 2, 3]})
    new, _ = catalog_of(frame)
    ids = IdMap.between(old, new)
    assert ids.user.tolist() == [0, 0, 1, 0]
    assert ids.item.tolist() == [0, 1, 0]
    assert (ids.new_users, ids.new_items, ids.lost_users, ids.lost_items) == (2, 1, 1, 1)
    assert count_known_pairs(old, frame.with_columns(item=pl.lit("x"))) == 1  # only (b, x)


def test_features_are_mapped_into_the_space_of_the_trained_model():
    generator = torch.Generator().manual_seed(0)
    known, new = torch.randn(30, 4, generator=generator), torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(align_features(known, known, new), new)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0])  # what another version of the SVD may change
    torch.testing.assert_close(align_features(known * signs, known, new), new * signs)


def test_new_items_of_a_model_with_features_start_from_their_description():
    old, _ = catalog_of(pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "rating": [1, 5]}))
    new, encoded = catalog_of(pl.DataFrame({"user": ["a", "b", "a"], "item": ["x", "y", "w"], "rating": [1, 5, 5]}))
    trained = PreferenceModel(2, 2, 5, clusters=2, latent=4, embedding=4, hidden=8, item_features=2).eval()
    trained.set_item_features(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    feature_IF = torch.tensor([[0.3, 0.3], [1.0, 0.0], [0.0, 1.0]])  # w, x, y
    warm = warm_model(trained, IdMap.between(old, new), arrays(encoded, [True] * 3), feature_IF)
    reference = trained.with_new_items(feature_IF[:1])
    user = torch.tensor([1, 2])
    torch.testing.assert_close(
        warm.predict_rating(user, torch.tensor([1, 1])), reference.predict_rating(user, torch.tensor([3, 3]))
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_on_a_growing_world_an_update_is_between_frozen_and_refitted_at_a_fraction_of_the_epochs(seed):
    config = PreferenceConfig(clusters=4)
    grown = Stream(World(users=300, items=100, reviews=9000, clusters=4, seed=seed), config)
    test = grown.new["test"]
    frozen = rmse(grown.trained, test, grown.ids.user, grown.ids.item)
    updated = grown.update()
    epochs = len(grown.history)
    refitted = grown.fit(grown.catalog, grown.new)
    figures = frozen, rmse(updated, test), rmse(refitted, test)
    assert figures[1] < figures[2] + 0.2 * (frozen - figures[2]), figures  # most of the gain
    assert epochs < 0.5 * len(grown.history)
    before, after = grown.same_clusters(updated)
    assert np.mean(before == after) > 0.97
