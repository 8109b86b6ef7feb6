"""Choose the number of clusters K by BIC of the users' latents, or by the ELBO of held-out reviews."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Interactions
from gavamoe.preference.mixture_fit import fit_user_mixture, observed_user_latents
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.trainer import best_record, fit_preference, pretrain


@dataclass(frozen=True)
class Candidate:
    """A number of clusters and the value of its criterion; lower is better."""

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
    """Return every K of `config.cluster_range` with its cost, the best first.

    `bic`: pretrain one model and compute the Bayesian information criterion of a mixture with K components on the
    users' latents. The cost is per user. A K above the number of users is left out.
    `elbo`: train one model for each K. The cost is its negative validation ELBO, in nats per pair.

    Args:
        train: training interactions.
        valid: validation interactions.
        users: number of users, without the unknown.
        items: number of items, without the unknown.
        levels: R, number of rating levels.
        config: settings of stage 1; `clusters` is not used.
        criterion: `bic` or `elbo`.
        seed: of initialisation and training.
    """
    smallest, largest = config.cluster_range
    candidates = range(smallest, largest + 1)

    def untrained(clusters: int) -> tuple[PreferenceModel, PreferenceConfig]:
        changed = config.model_copy(update={"clusters": clusters})
        return PreferenceModel.from_config(users, items, levels, changed, seed), changed

    if criterion == "bic":
        costs = _bic(train, valid, *untrained(smallest), candidates, seed)
    else:
        costs = []
        for clusters in candidates:
            model, changed = untrained(clusters)
            history = fit_preference(model, train, valid, changed, seed)
            costs.append(Candidate(clusters, best_record(history)["valid_objective"]))
    return sorted(costs, key=lambda candidate: candidate.cost)


def _bic(
    train: InteractionArrays,
    valid: InteractionArrays,
    model: PreferenceModel,
    config: PreferenceConfig,
    candidates: range,
    seed: int,
) -> list[Candidate]:
    """Return the BIC per user of each K, from the latents of a model that this function pretrains."""
    pretrain(model, train, valid, config, seed)
    latents = observed_user_latents(model, Interactions(train).counts(model.users, model.items)[0])
    mixtures = {k: fit_user_mixture(latents, k, config.restarts, seed) for k in candidates if k <= len(latents)}
    return [Candidate(k, float(mixture.bic(latents)) / len(latents)) for k, mixture in mixtures.items()]
