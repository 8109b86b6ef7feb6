"""Choice of the number of clusters by BIC and by held-out ELBO."""

import numpy as np
import pytest

from gavamoe.config import PreferenceConfig, parse_config
from gavamoe.data.dataset import InteractionArrays
from gavamoe.data.simulate import World, simulate
from gavamoe.errors import ConfigError
from gavamoe.preference.choose_k import choose_clusters
from gavamoe.preference.model import PreferenceModel

QUICK = PreferenceConfig(pretrain_epochs=8, epochs=4, warmup_epochs=1, restarts=3, cluster_range=(2, 6))


@pytest.fixture(scope="module")
def three_clusters() -> tuple[InteractionArrays, InteractionArrays]:
    frame = simulate(World(users=300, items=100, reviews=6000, clusters=3))
    user, item = (np.unique(frame[name].to_numpy(), return_inverse=True)[1] + 1 for name in ("user", "item"))
    level, held_out = frame["rating"].to_numpy().astype(int), np.random.default_rng(0).random(len(frame)) < 0.1
    train, valid = (InteractionArrays(user[rows], item[rows], level[rows]) for rows in (~held_out, held_out))
    return train, valid


@pytest.fixture
def few_users() -> InteractionArrays:
    """Return the reviews of five users, two of whom wrote one each and three wrote nine each."""
    counts = [1, 1, 9, 9, 9]
    user = np.repeat(np.arange(1, 6), counts)
    item = np.concatenate([np.arange(1, count + 1) for count in counts])
    return InteractionArrays(user, item, (user + item) % 5 + 1)


def untrained_of_few(config: PreferenceConfig) -> PreferenceModel:
    return PreferenceModel.from_config(5, 9, 5, config)


def untrained(config: PreferenceConfig) -> PreferenceModel:
    return PreferenceModel.from_config(300, 100, 5, config)


def test_bic_finds_the_number_of_clusters_of_a_simulated_world(three_clusters):
    found = choose_clusters(*three_clusters, QUICK, "bic", 0, untrained)
    assert found[0].clusters == 3
    assert sorted(candidate.clusters for candidate in found) == [2, 3, 4, 5, 6]


@pytest.mark.slow
def test_the_held_out_elbo_rejects_too_few_clusters(three_clusters):
    config = PreferenceConfig(cluster_range=(2, 3))
    better, worse = choose_clusters(*three_clusters, config, "elbo", 0, untrained)
    assert (better.clusters, worse.clusters) == (3, 2)
    assert better.cost < worse.cost


def test_bic_tries_every_number_of_clusters_that_has_users(few_users):
    config = PreferenceConfig(pretrain_epochs=1, cluster_range=(2, 5), restarts=1)
    tried = choose_clusters(few_users, few_users, config, "bic", 0, untrained_of_few)
    assert sorted(candidate.clusters for candidate in tried) == [2, 3, 4, 5]


def test_a_cluster_range_above_the_number_of_users_is_a_config_error(few_users):
    config = PreferenceConfig(pretrain_epochs=1, cluster_range=(6, 8), restarts=1)
    with pytest.raises(ConfigError, match="6 clusters need at least as many users with reviews, and there are 5"):
        choose_clusters(few_users, few_users, config, "bic", 0, untrained_of_few)


def test_an_empty_cluster_range_is_a_config_error():
    with pytest.raises(ConfigError, match="cluster_range must be two rising numbers"):
        parse_config({"preference": {"cluster_range": [5, 2]}})
