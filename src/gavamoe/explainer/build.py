"""The language model before training: from scratch with a tokenizer of the corpus, or around a pretrained base."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gavamoe.config import ExplainerConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.prompt import ITEM, USER
from gavamoe.explainer.tokenizer import extend_tokenizer, mark_id, train_tokenizer
from gavamoe.moe.convert import gated_mlps


def from_scratch(
    texts: Iterable[str], config: ExplainerConfig, clusters: int, side_vectors: tuple[Tensor, Tensor]
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """A small Llama, its FFNs experts from the start, with a tokenizer trained on `texts`."""
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
    model_config = _model_config(config, text_config, tokenizer, clusters, side_vectors, config.expert_width)
    model = GavamoeForCausalLM(model_config)
    return _ready(model, tokenizer, side_vectors), tokenizer


def from_base(
    base: str, config: ExplainerConfig, clusters: int, side_vectors: tuple[Tensor, Tensor]
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """A pretrained LM by hub id or directory, its FFNs turned into experts as `config.initialisation` says."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        lm = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot load the base model '{base}': {str(error).splitlines()[0]} - give a local directory of a "
            "causal LM, or a hub id you can reach (a gated one needs `hf auth login`)"
        ) from None
    if extend_tokenizer(tokenizer):
        lm.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    mlps = list(gated_mlps(lm))
    dense = mlps[0][2].gate_proj.out_features if mlps else config.experts * config.expert_width
    if config.initialisation == "partition" and dense % config.experts:
        raise ConfigError(f"{base} has FFNs of {dense} neurons, which {config.experts} experts cannot share evenly")
    width = dense // config.experts if config.initialisation == "partition" else dense
    if config.initialisation == "replicate":
        # Refining would cut the copies in pieces; what is copied stays whole.
        config = config.model_copy(update={"granularity": 1})
    model_config = _model_config(config, lm.config, tokenizer, clusters, side_vectors, width)
    model = GavamoeForCausalLM.from_base(lm, model_config, config.initialisation)
    return _ready(model, tokenizer, side_vectors), tokenizer


def _model_config(
    config: ExplainerConfig,
    text_config: LlamaConfig,
    tokenizer: PreTrainedTokenizerBase,
    clusters: int,
    side_vectors: tuple[Tensor, Tensor],
    width: int,
) -> GavamoeConfig:
    users, items = side_vectors
    return GavamoeConfig(
        text_config=text_config,
        clusters=clusters,
        experts=config.experts * config.granularity,
        experts_per_token=config.top_k * config.granularity,
        expert_width=width // config.granularity,
        shared_experts=config.shared_experts,
        users=len(users) - 1,
        items=len(items) - 1,
        side_width=users.shape[1],
        user_token_id=mark_id(tokenizer, USER),
        item_token_id=mark_id(tokenizer, ITEM),
        balance_weight=config.balance_weight,
        z_weight=config.z_weight,
        dropout=config.dropout,
    )


def _ready(
    model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, side_vectors: tuple[Tensor, Tensor]
) -> GavamoeForCausalLM:
    """The vectors of the pair in their place, and generation that stops at the tokenizer's own end token."""
    transformers_logging.set_verbosity_error()
    users, items = side_vectors
    model.user_token.start_from(users)
    model.item_token.start_from(items)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model
