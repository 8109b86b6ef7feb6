"""The language model before training: from scratch with a tokenizer of the corpus, or around a pretrained base."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from gavamoe.config import ExplainerConfig
from gavamoe.distributed import use_bf16
from gavamoe.errors import ConfigError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.base_model import base_error, extend_vocabulary, four_bits, load_base, load_part, load_tokenizer
from gavamoe.language.prompt import EXPLAIN, FACT_TOKENS, ITEM, USER
from gavamoe.language.tokenizer import special_token_id, train_tokenizer
from gavamoe.moe.block import MoEShape
from gavamoe.moe.convert import gated_mlps
from gavamoe.moe.initialise import routing_scale


def from_scratch(
    texts: Iterable[str], config: ExplainerConfig, clusters: int, soft_token_vectors: tuple[Tensor, Tensor]
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """A small Llama, its FFNs experts from the start, with a tokenizer trained on `texts`."""
    config = config.resolve_defaults(base=False)
    tokenizer = train_tokenizer(texts, config.vocabulary)
    text_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.experts * config.expert_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=config.hidden**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    ours = model_config(config, text_config, tokenizer, clusters, soft_token_vectors)
    ours.fact_token_ids = [special_token_id(tokenizer, mark) for mark in FACT_TOKENS]
    # Tied vectors are as short as output weights must be; read at unit variance, they are heard over the layers' noise.
    ours.embedding_scale = config.hidden**0.5
    return _ready(GavamoeForCausalLM(ours), tokenizer, soft_token_vectors), tokenizer


def check_base(base: str, config: ExplainerConfig, clusters: int) -> None:
    """Find out at once, without its weights, whether `base` can be had and converted as asked; else `ConfigError`."""
    config = config.resolve_defaults(base=True)
    if config.load_in_4bit:
        four_bits(torch.float32)
    skeleton, nobody = load_skeleton(base), torch.empty(1, 1)
    tokenizer, _ = load_tokenizer(base)
    ours = model_config(config, skeleton.config, tokenizer, clusters, (nobody, nobody))
    ours.partition = "random"  # which neurons go together takes weights to find out, and cannot fail
    GavamoeForCausalLM(ours, skeleton)


def from_base(
    base: str, config: ExplainerConfig, clusters: int, soft_token_vectors: tuple[Tensor, Tensor]
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """A pretrained LM by hub id or directory, its FFNs turned into experts as `config.initialisation` says."""
    config = config.resolve_defaults(base=True)
    tokenizer, new_ids = load_tokenizer(base)
    frozen = config.tuning == "lora"
    # What is frozen may rest in half precision; what is trained needs all of it.
    dtype = torch.bfloat16 if frozen and use_bf16(config.precision) else torch.float32
    lm = load_base(base, dtype, config.load_in_4bit)
    extend_vocabulary(lm, len(tokenizer), new_ids)
    # A copy: transformers sets attention anew on the parts of a composed configuration, and would unset the LM's own.
    ours = model_config(config, copy.deepcopy(lm.config), tokenizer, clusters, soft_token_vectors)
    return _ready(GavamoeForCausalLM(ours, lm), tokenizer, soft_token_vectors), tokenizer


def model_config(
    config: ExplainerConfig,
    text_config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    clusters: int,
    soft_token_vectors: tuple[Tensor, Tensor],
) -> GavamoeConfig:
    """The model's own configuration from a settled one; sizes after refinement."""
    users, items = soft_token_vectors
    initialisation = config.initialisation or "random"
    width = _expert_width(config, text_config.get_text_config().intermediate_size)
    shape = MoEShape.refined(clusters, config.experts, config.top_k, width, config.granularity, config.shared_experts)
    return GavamoeConfig(
        text_config=text_config,
        clusters=clusters,
        experts=shape.experts,
        experts_per_token=shape.top_k,
        expert_width=shape.width,
        shared_experts=shape.shared_experts,
        routing_scale=routing_scale(initialisation, shape.top_k, config.granularity),
        initialisation=initialisation,
        partition=config.partition,
        moe_layers=config.moe_layers,
        users=len(users) - 1,
        items=len(items) - 1,
        side_width=users.shape[1],
        user_token_id=special_token_id(tokenizer, USER),
        item_token_id=special_token_id(tokenizer, ITEM),
        text_token_id=special_token_id(tokenizer, EXPLAIN),
        balance_weight=config.balance_weight,
        z_weight=config.z_weight,
        dropout=config.dropout,
        router_jitter=config.router_jitter,
        evidence=config.evidence,
    )


def _expert_width(config: ExplainerConfig, neurons: int) -> int:
    """Width of one expert before refinement, where a dense FFN has so many neurons."""
    if config.initialisation == "partition":
        parts = config.experts * config.granularity + config.shared_experts  # shared ones are refined ones
        shared = f" and {config.shared_experts} shared ones" if config.shared_experts else ""
        if neurons % parts:
            raise ConfigError(
                f"explainer.initialisation=partition: {config.experts * config.granularity} experts{shared} cannot "
                f"share the {neurons} neurons of the base model's FFNs evenly; choose other explainer.experts"
            )
        return neurons // parts * config.granularity
    if config.initialisation == "replicate":
        if neurons % config.granularity:
            raise ConfigError(f"explainer.granularity={config.granularity} does not divide FFNs of {neurons} neurons")
        return neurons
    return config.expert_rank if config.initialisation == "adapter" else config.expert_width


def _ready(
    model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, soft_token_vectors: tuple[Tensor, Tensor]
) -> GavamoeForCausalLM:
    """The vectors of the pair in their place, and generation that stops at the tokenizer's own end token."""
    transformers_logging.set_verbosity_error()
    users, items = soft_token_vectors
    model.user_token.start_from(users)
    model.item_token.start_from(items)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def load_skeleton(base: str) -> PreTrainedModel:
    """The LM of a hub id or directory without its weights; `ConfigError` where it cannot be had or converted."""
    config = load_part(base, AutoConfig)
    try:
        with torch.device("meta"):
            skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    except ValueError as error:
        raise base_error(base, error) from None
    if not any(gated_mlps(skeleton)):
        raise ConfigError(
            f"{base} ({type(skeleton).__name__}) has no gated MLP (gate_proj, up_proj, down_proj) to convert; "
            "choose a base model like Llama, Qwen, Mistral, SmolLM or Gemma"
        )
    return skeleton
