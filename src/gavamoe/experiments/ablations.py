"""GaVaMoE, its named ablations, stage 1 alone, PETER with GaVaMoE's draft selection and the untrained base model,
registered as systems of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gavamoe.baselines.data import TextData
from gavamoe.baselines.neural import NeuralSystem
from gavamoe.baselines.peter import PETER
from gavamoe.baselines.rating_system import RatingSystem
from gavamoe.baselines.registry import SystemContext, register_system
from gavamoe.config import ExplainerConfig, RunConfig
from gavamoe.errors import ConfigError
from gavamoe.experiments.config import GAVAMOE
from gavamoe.experiments.gavamoe import GavamoeSystem, PreferenceRatings
from gavamoe.experiments.prompted import EXAMPLES, PromptedSystem, check_prompted
from gavamoe.explainer import build
from gavamoe.explainer.evidence import EvidenceIndex, sentence_table
from gavamoe.language.mbr import ReferenceSentences

STAGE_1 = "preference"


def ablation_settings(config: ExplainerConfig) -> dict[str, dict[str, Any]]:
    """Return the settings that each ablation changes, by its name.

    The dense FFN is one expert as wide as all experts together, shared ones included: the same parameters, all of them
    active. Coarse shared experts are as wide as the others, so there are fewer of them. `lora` is the usual way to
    fine-tune a base model: the same prompts, low-rank factors, and neither experts nor vectors of a pair.

    Args:
        config: the settings of the comparison, with the number of shared experts.
    """
    shared, fine = config.shared_experts or 0, config.granularity
    experts = config.experts * fine + shared  # refined ones
    return {
        "gavamoe-dense": {
            "explainer.experts": 1,
            "explainer.top_k": 1,
            "explainer.granularity": 1,
            "explainer.expert_width": experts * config.expert_width // fine,
            "explainer.expert_rank": experts * config.expert_rank // fine,
            **({"explainer.shared_experts": 0} if shared else {}),
        },
        "gavamoe-one-gate": {"explainer.gate_clusters": "one"},
        "gavamoe-coarse": {
            "explainer.granularity": 1,
            **({"explainer.shared_experts": -(-shared // fine)} if shared else {}),
        },
        "gavamoe-random-clusters": {"explainer.gate_clusters": "random"},
        "gavamoe-kmeans": {"explainer.gate_clusters": "kmeans"},
        "gavamoe-no-taste": {"explainer.use_preference_vectors": False},
        "gavamoe-drafts-alone": {"explainer.mbr_references": 0, "explainer.mbr_content_words": False},
        "lora": {
            "explainer.moe_layers": [],
            "explainer.gate_clusters": "one",
            "explainer.use_preference_vectors": False,
            "explainer.soft_token_width": 0,
            "explainer.tuning": "lora",
            "explainer.lora_targets": "all",
        },
    }


def create_gavamoe(context: SystemContext) -> GavamoeSystem:
    """Return the untrained system under the context's settings."""
    return GavamoeSystem(context.config, context.preset, context.base_model, context.reuse_weights_from)


def check_gavamoe(context: SystemContext) -> None:
    """Raise `ConfigError` for settings that contradict each other, or a template or base that cannot be used."""
    config = context.config
    build.check_settings(config.explainer, config.preference.clusters, context.base_model)


def _check_stage_1(context: SystemContext) -> None:
    """Raise `ConfigError` for settings with which stage 1 of GaVaMoE reads more than ratings."""
    config = context.config.preference
    read = (config.item_features, config.text_kind, config.choose_clusters)
    names = ("item_features", "reconstructs", "choose_clusters")
    if settings := [f"preference.{name}" for name, value in zip(names, read, strict=True) if value]:
        raise ConfigError(
            f"the system {STAGE_1} learns from ratings alone, with a fixed number of clusters: leave out "
            f"{', '.join(settings)}, or read the ratings of {GAVAMOE}, which are those of its stage 1"
        )


def _create_peter_with_references(context: SystemContext) -> NeuralSystem:
    """Return PETER with the draft selection of GaVaMoE, which tells the selection from the network."""
    return NeuralSystem(
        PETER, frozenset(), False, context.parameters, references=_training_sentences, reuse_weights_from="peter"
    )


def _training_sentences(data: TextData) -> ReferenceSentences:
    """Return what looks up the sentences of training reviews that GaVaMoE compares drafts with."""
    train = data.train_texts
    sentences = sentence_table(train, np.zeros(len(train), dtype=np.int32), None)
    return EvidenceIndex.from_sentences(sentences.lazy(), np.zeros((1, 1)), data.levels).reference_sentences


def _create_stage_1(context: SystemContext) -> RatingSystem:
    return RatingSystem(partial(PreferenceRatings, config=context.config.preference))


def _settings_of(name: str) -> Callable[[RunConfig], dict[str, Any]]:
    return lambda config: ablation_settings(config.explainer)[name]


register_system(GAVAMOE, create_gavamoe, GavamoeSystem.inputs, settings=lambda config: {}, check=check_gavamoe)
for _name in ablation_settings(ExplainerConfig()):
    register_system(_name, create_gavamoe, GavamoeSystem.inputs, settings=_settings_of(_name), check=check_gavamoe)
register_system("peter-references", _create_peter_with_references)
register_system(STAGE_1, _create_stage_1, needs_texts=False, check=_check_stage_1)
for _name, _examples in (("zero-shot", 0), ("few-shot", EXAMPLES)):
    register_system(
        _name, partial(PromptedSystem, examples=_examples), inputs=PromptedSystem.inputs, check=check_prompted
    )
