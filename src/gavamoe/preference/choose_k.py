"""Choose the number of clusters K: BIC of the users' latents, ELBO or likelihood of the texts of held-out reviews."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gavamoe.config import PreferenceConfig
from gavamoe.data.dataset import InteractionArrays
from gavamoe.preference.batches import Interactions
from gavamoe.preference.mixture_fit import fit_components, fit_user_mixture, fitted_latents
from gavamoe.preference.model import PreferenceModel
from gavamoe.preference.prior import MixturePrior
from gavamoe.preference.trainer import INIT_REVIEWS, best_record, fit_preference, pretrain
from gavamoe.preference.word_gain import WordCounts, text_gain


@dataclass(frozen=True)
class Candidate:
    """A number of clusters and the value of its criterion; lower is better."""

    clusters: int
    cost: float


def choose_clusters(
    train: InteractionArrays,
    valid: InteractionArrays,
    config: PreferenceConfig,
    criterion: Literal["bic", "elbo", "text"],
    seed: int,
    untrained: Callable[[PreferenceConfig], PreferenceModel],
) -> list[Candidate]:
    """Return every K of `config.cluster_range` with its cost, the best first.

    `bic`: pretrain one model and compute the Bayesian information criterion of a mixture with K components on the
    users' latents. The cost is per user. A K above the number of users is left out.
    `elbo`: train one model for each K. The cost is its negative validation ELBO, in nats per pair.
    `text`: pretrain one model and fit a mixture of K components to its pairs. The cost is minus the nats per unit
        that a unigram model of each cluster saves on held-out texts (`word_gain`).

    Args:
        train: training interactions.
        valid: validation interactions.
        config: settings of stage 1; `clusters` is not used.
        criterion: `bic`, `elbo` or `text`.
        seed: of training.
        untrained: returns stage 1 with random weights, for settings that differ in `clusters`.
    """
    smallest, largest = config.cluster_range
    candidates = range(smallest, largest + 1)

    settings = {clusters: config.model_copy(update={"clusters": clusters}) for clusters in candidates}
    first = settings[smallest]
    if criterion == "bic":
        costs = _bic(train, valid, untrained(first), first, candidates, seed)
    elif criterion == "text":
        costs = _text_loss(train, valid, untrained(first), first, candidates, seed)
    else:
        costs = []
        for clusters in candidates:
            history = fit_preference(untrained(settings[clusters]), train, valid, settings[clusters], seed)
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
    """Return the BIC per latent of each K, from the latents of a model that this function pretrains."""
    pretrain(model, train, valid, config, seed)
    reviews = Interactions(train)
    reviews_U, _ = reviews.counts(model.users, model.items)
    latents = fitted_latents(model, reviews_U, reviews.sample(INIT_REVIEWS), clusters=candidates[-1])
    mixtures = {k: fit_user_mixture(latents, k, config.restarts, seed) for k in candidates if k <= len(latents)}
    return [Candidate(k, float(mixture.bic(latents)) / len(latents)) for k, mixture in mixtures.items()]


def _text_loss(
    train: InteractionArrays,
    valid: InteractionArrays,
    model: PreferenceModel,
    config: PreferenceConfig,
    candidates: range,
    seed: int,
) -> list[Candidate]:
    """Return minus the nats per unit that the clusters save on held-out texts, for each K; one model is pretrained."""
    pretrain(model, train, valid, config, seed)
    pairs, held_out = Interactions(train).sample(INIT_REVIEWS), Interactions(valid).sample(INIT_REVIEWS)
    reviews_U, _ = Interactions(train).counts(model.users, model.items)
    counts = WordCounts.of_units(pairs.units.numpy(), held_out.units.numpy())
    found = []
    for clusters in candidates:
        if clusters > len(pairs):
            break
        prior = MixturePrior(clusters, model.prior.mean_KD.shape[1])
        model.clusters, model.prior = clusters, prior.to(model.device)
        fit_components(model, reviews_U, pairs, config.restarts, seed)
        groups = (model.assign(part.user_B, part.item_B).cpu().numpy() for part in (pairs, held_out))
        found.append(Candidate(clusters, -text_gain(counts, *groups).nats))
    return found
