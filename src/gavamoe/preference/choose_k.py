"""The number of clusters by a criterion: BIC of the users' latents, or the ELBO of reviews that were held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Interactions
from gavamoe.preference.mixture_fit import fit_users, known_users
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import best_record, fit_preference, pretrain


@dataclass(frozen=True)
class Candidate:
    """A number of clusters and what speaks against it: lower is better."""

    clusters: int
    cost: float


def choose_clusters(
    train: InteractionArrays,
    valid: InteractionArrays,
    users: int,
    items: int,
    levels: int,
    config: PreferenceConfig,
    criterion: Literal["bic", "elbo"],
    seed: int = 0,
) -> list[Candidate]:
    """Every K of `config.cluster_range`, the best first.

    `bic` costs one pretraining: the Bayesian information criterion of a mixture of K components on the users' latents,
    a user. `elbo` trains a model for each K: its negative validation ELBO, a pair, in nats.
    """
    smallest, largest = config.cluster_range
    range_ = range(smallest, largest + 1)
    if criterion == "bic":
        changed = config.model_copy(update={"clusters": smallest})
        model = PreferenceModel.from_config(users, items, levels, changed, seed)
        found = _by_bic(train, valid, model, changed, range_, seed)
    else:
        found = []
        for clusters in range_:
            changed = config.model_copy(update={"clusters": clusters})
            model = PreferenceModel.from_config(users, items, levels, changed, seed)
            found.append(
                Candidate(clusters, best_record(fit_preference(model, train, valid, changed, seed))["valid_objective"])
            )
    return sorted(found, key=lambda candidate: candidate.cost)


def _by_bic(
    train: InteractionArrays,
    valid: InteractionArrays,
    model: PreferenceModel,
    config: PreferenceConfig,
    range_: range,
    seed: int,
) -> list[Candidate]:
    pretrain(model, train, valid, config, seed)
    known = known_users(model, Interactions(train).counts(model.users, model.items)[0])
    mixtures = {k: fit_users(known, k, config.restarts, seed) for k in range_ if k <= len(known)}
    return [Candidate(k, float(mixture.bic(known)) / len(known)) for k, mixture in mixtures.items()]
