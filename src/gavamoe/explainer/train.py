"""Stage 2 from reviews to a trained model: the assembly of all its parts.

prompt template -> gates -> context -> soft-token vectors -> language model -> datasets -> LoRA -> trainer
-> TrainedExplainer.save

An update takes template, gates and language model from a trained run (`warm_start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from gavamoe.conditions import TRUTH
from gavamoe.config import SPECIAL, ExplainerConfig
from gavamoe.data.catalog import Catalog
from gavamoe.data.dataset import id_arrays
from gavamoe.data.tables import draw_rows
from gavamoe.distributed import default_device, is_main_process
from gavamoe.explainer import build
from gavamoe.explainer.checkpoints import keep_precision
from gavamoe.explainer.chunked_loss import can_chunk_loss
from gavamoe.explainer.context import ContextBuilder
from gavamoe.explainer.dataset import ExplanationDataset
from gavamoe.explainer.gate_assignment import GateAssignment
from gavamoe.explainer.lora import add_lora, merge_lora, save_adapter
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftTokenVectors, item_lsa_vectors, soft_token_init
from gavamoe.explainer.trainer import fit_explainer
from gavamoe.explainer.warm_start import WarmStart
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.language.encoding import PromptEncoder
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.template import PromptTemplate
from gavamoe.moe.gate import OWN_SHARE, cluster_gates
from gavamoe.preference.model import PreferenceModel


@dataclass(frozen=True)
class TrainedExplainer:
    """A trained stage 2, ready to be saved.

    Args:
        model: the language model; with LoRA its PEFT model.
        tokenizer: the model's.
        context: everything else that stage 2 needs to explain a pair.
        records: the loss records of `fit_explainer`.
        adapter_base: the base model that an adapter is saved beside; None to save the whole model.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    context: ContextBuilder
    records: list[dict[str, Any]]
    adapter_base: str | None

    @quiet_transformers()
    def save(self, directory: Path) -> None:
        """Write model (merged, or as an adapter), tokenizer and context; LoRA factors are merged in place."""
        if self.adapter_base is None:
            merge_lora(self.model).save_pretrained(directory)
        else:
            save_adapter(self.model, self.adapter_base, directory)
        self.tokenizer.save_pretrained(directory)
        self.context.save(directory)


@quiet_transformers()
def train_explainer(
    train: pl.DataFrame,
    valid: pl.DataFrame,
    catalog: Catalog,
    preference: PreferenceModel,
    config: ExplainerConfig,
    seed: int,
    checkpoints: Path,
    base_model: str | None = None,
    tensorboard: Path | None = None,
    trust_remote_code: bool = False,
    warm: WarmStart | None = None,
    on_validation: Callable[[int, float], None] | None = None,
) -> TrainedExplainer:
    """Train stage 2 on reviews with text; every process of a distributed training calls it.

    Args:
        train: prepared training reviews.
        valid: prepared validation reviews.
        catalog: names and rating scale of the data.
        preference: trained stage 1, in evaluation mode.
        config: settings of stage 2.
        seed: of everything random; torch's generator is seeded with it.
        checkpoints: folder of the training state; an interrupted training found there is resumed.
        base_model: hub id or directory of a pretrained LM; None trains a small one from scratch.
        tensorboard: where to write the losses too, if `config.tensorboard` says so.
        trust_remote_code: whether code that comes with the base model may run.
        warm: the run that an update starts from; None trains anew.
        on_validation: called with each epoch and its validation loss (`fit_explainer`).

    Raises:
        ConfigError: The settings contradict each other, or do not fit the base model.
    """
    config = config.resolve_defaults(base=base_model is not None)
    torch.manual_seed(seed)
    if warm is None:
        template = prompt_template(config, catalog, checkpoints)
        gates = GateAssignment.fit(config.gate_clusters, preference, *id_arrays(train), seed)
    else:
        template = PromptTemplate.load(warm.directory)
        gates = GateAssignment.load(warm.directory, preference)
    context = ContextBuilder.fit(train, catalog, preference, gates, config.evidence or 0, template, config.history)
    model, tokenizer, config = _starting_model(
        train, preference, config, gates.count, base_model, trust_remote_code, warm, checkpoints
    )
    prompt = PromptEncoder(tokenizer, template)
    prompt.check_budget()
    train_set, valid_set = (
        ExplanationDataset.from_reviews(draw_rows(reviews, limit, seed), context, prompt, config, seed, hide)
        for reviews, limit, hide in ((train, config.max_reviews, True), (valid, config.max_valid_reviews, False))
    )
    if config.gate == "shared":
        for gate in cluster_gates(model):
            gate.share(OWN_SHARE)
    model.loss_in_chunks = can_chunk_loss(model)
    trained = add_lora(model, tokenizer, config) if config.tuning == "lora" else model
    logs = tensorboard if config.tensorboard else None
    is_update = warm is not None
    records = fit_explainer(
        trained, tokenizer, train_set, valid_set, config, seed, checkpoints, logs, is_update, on_validation
    )
    for gate in cluster_gates(trained):
        gate.merge()
    truth = TRUTH.with_context(context.most_context).to_dict()
    records = [record | ({"conditions": truth} if "eval_loss" in record else {}) for record in records]
    return TrainedExplainer(trained, tokenizer, context, records, base_model if config.save == "adapter" else None)


def _starting_model(
    train: pl.DataFrame,
    preference: PreferenceModel,
    config: ExplainerConfig,
    gates: int,
    base_model: str | None,
    trust_remote_code: bool,
    warm: WarmStart | None,
    checkpoints: Path,
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase, ExplainerConfig]:
    """Return the model that training starts from, its tokenizer, and the settings with their precision decided."""
    if warm is not None:
        model, tokenizer = warm.model(train, preference, config)
        config = keep_precision(config, model.config.width if model.dtype == torch.bfloat16 else 0, checkpoints)
        if config.precision == "fp32":
            model.float()
    else:
        width = build.base_width(base_model, trust_remote_code) if base_model and config.tuning == "lora" else 0
        config = keep_precision(config, width, checkpoints)
        vectors = soft_token_vectors(train, preference, config)
        if base_model is None:
            model, tokenizer = build.from_scratch(train["text"].to_list(), config, gates, vectors)
        else:
            model, tokenizer = build.from_base(base_model, config, gates, vectors, trust_remote_code)
    if default_device() == "cpu":
        model.use_fast_attention()
    model.generation_config = DecodingConfig.from_settings(config, tokenizer).to_generation_config()
    return model, tokenizer, config


def soft_token_vectors(train: pl.DataFrame, preference: PreferenceModel, config: ExplainerConfig) -> SoftTokenVectors:
    """Return the vectors that the soft tokens start from, of width V + W (`soft_tokens`)."""
    users_NV, items_NV = preference.embedding_tables()
    if not config.use_preference_vectors:
        users_NV, items_NV = users_NV[:, :0], items_NV[:, :0]
    return SoftTokenVectors(
        soft_token_init(users_NV, torch.zeros(len(users_NV), config.soft_token_width)),
        soft_token_init(items_NV, item_lsa_vectors(train, len(items_NV), config.soft_token_width)),
        preference.user_row_N,
    )


def prompt_template(config: ExplainerConfig, catalog: Catalog, checkpoints: Path) -> PromptTemplate | None:
    """Return the template of prompts in words that the settings name; None for prompts of special tokens.

    Args:
        config: with its defaults resolved.
        catalog: has the rating scale.
        checkpoints: folder of the training state. It keeps the template of an interrupted training, so that a file that
            has changed since does not change the prompts.

    Raises:
        ConfigError: The template cannot be used.
    """
    if config.prompt_template is None or config.prompt_template == SPECIAL:
        return None
    if (kept := PromptTemplate.load(checkpoints)) is not None:
        return kept
    ratings = catalog.scale.in_words()
    template = PromptTemplate.from_setting(config.prompt_template, ratings, config.prompt_tokens, config.chat_template)
    if is_main_process():
        checkpoints.mkdir(parents=True, exist_ok=True)
        template.save(checkpoints)
    return template
