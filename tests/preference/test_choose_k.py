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


def test_an_empty_cluster_range_is_a_config_error():
    with pytest.raises(ConfigError, match="cluster_range must be two rising numbers"):
        parse_config({"preference": {"cluster_range": [5, 2]}})
