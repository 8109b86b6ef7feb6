"""The ablations of GaVaMoE that have a name: each is the whole system with a setting changed."""

from __future__ import annotations

from typing import Any

from gavamoe.config import ExplainerConfig
from gavamoe.experiments.config import OURS, Recipe
from gavamoe.language.decoding_config import DECODING_SETTINGS


def settings_of(name: str, recipe: Recipe) -> dict[str, Any] | None:
    """The settings that make the named variant; None when it is none of ours."""
    if name == OURS:
        return {}
    if name in recipe.variants:
        return dict(recipe.variants[name].set)
    return ablations(recipe.config(0).explainer).get(name)


def trained_by(name: str, recipe: Recipe) -> str | None:
    """The earlier model of the recipe that has the weights of this one of ours: only decoding sets them apart."""
    earlier, learned = recipe.models[: recipe.models.index(name)], _learned(name, recipe)
    return next((other for other in earlier if _learned(other, recipe) == learned), None)


def _learned(name: str, recipe: Recipe) -> dict[str, Any] | None:
    """The configuration as far as training reads it; None when the model is none of ours."""
    changed = settings_of(name, recipe)
    return (
        None if changed is None else recipe.config(0, changed).model_dump(exclude={"explainer": set(DECODING_SETTINGS)})
    )


def ablations(config: ExplainerConfig) -> dict[str, dict[str, Any]]:
    """By name. A dense FFN is one expert as wide as all together: the same parameters, all of them active."""
    return {
        "gavamoe-dense": {
            "explainer.experts": 1,
            "explainer.top_k": 1,
            "explainer.granularity": 1,
            "explainer.expert_width": config.experts * config.expert_width,
            "explainer.expert_rank": config.experts * config.expert_rank,
        },
        "gavamoe-one-gate": {"explainer.gate_clusters": "one"},
        "gavamoe-coarse": {"explainer.granularity": 1},
        "gavamoe-random-clusters": {"explainer.gate_clusters": "random"},
        "gavamoe-kmeans": {"explainer.gate_clusters": "kmeans"},
        "gavamoe-no-taste": {"explainer.use_preference_vectors": False},
        "gavamoe-drafts-alone": {"explainer.mbr_references": 0},
    }
