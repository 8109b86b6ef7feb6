"""The language model before training: from scratch with a tokenizer of the corpus, or around a pretrained base."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from gavamoe.config import SPECIAL, ExplainerConfig
from gavamoe.distributed import use_bf16
from gavamoe.errors import ConfigError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.language.base_model import (
    base_error,
    extend_vocabulary,
    four_bit_config,
    load_base,
    load_pretrained,
    load_tokenizer,
    small_llama,
)
from gavamoe.language.prompt import EXPLAIN, FIELD_TOKENS, ITEM, USER
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.template import PromptTemplate
from gavamoe.language.tokenizer import special_token_id, train_tokenizer
from gavamoe.moe.block import MoEShape
from gavamoe.moe.convert import gated_mlps
from gavamoe.moe.initialise import routing_scale

# Mean weight of an expert from scratch, routed or shared. With one weight, models with few and with many experts learn
# at the same rate: the output of a single expert of weight 1 would change four times as fast.
EXPERT_WEIGHT = 0.25


@quiet_transformers()
def from_scratch(
    texts: Iterable[str], config: ExplainerConfig, clusters: int, soft_token_vectors: SoftTokenVectors
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """Build a small Llama whose FFNs are new experts, and train its tokenizer.

    Args:
        texts: training texts of the tokenizer.
        config: settings of stage 2.
        clusters: number of gates.
        soft_token_vectors: initial vectors of users and of items.

    Raises:
        ConfigError: The settings contradict each other.
    """
    config = config.resolve_defaults(base=False)
    tokenizer = train_tokenizer(texts, config.vocabulary)
    text_config = small_llama(
        vocabulary=len(tokenizer),
        hidden=config.hidden,
        intermediate=config.experts * config.expert_width,
        layers=config.layers,
        heads=config.heads,
        pad=tokenizer.pad_token_id,
        end=tokenizer.eos_token_id,
    )
    gavamoe_config = model_config(config, text_config, tokenizer, clusters, soft_token_vectors)
    gavamoe_config.fact_token_ids = [special_token_id(tokenizer, token) for token in FIELD_TOKENS]
    # Tied embeddings are as small as output weights must be. As inputs they are scaled to unit variance, so that the
    # layers' initial outputs do not drown them.
    gavamoe_config.embedding_scale = config.hidden**0.5
    gavamoe_config.routing_scale = EXPERT_WEIGHT * gavamoe_config.experts_per_token
    gavamoe_config.shared_scale = EXPERT_WEIGHT
    return _finish(GavamoeForCausalLM(gavamoe_config), tokenizer, soft_token_vectors), tokenizer


def check_settings(config: ExplainerConfig, clusters: int, base: str | None, trust_remote_code: bool = False) -> None:
    """Check that stage 2 can be trained as configured, before stage 1 is trained for it.

    Args:
        config: settings of stage 2.
        clusters: number of clusters of stage 1.
        base: hub id or directory of the base model; None for a model from scratch.
        trust_remote_code: whether code that comes with the base may run.

    Raises:
        ConfigError: The settings contradict each other, or the prompt template or the base model cannot be used.
    """
    setting = config.resolve_defaults(base=base is not None).prompt_template
    if setting is not None and setting != SPECIAL:
        PromptTemplate.from_setting(setting, ratings=("a rating",), max_tokens=1, chat=False)
    if base is not None:
        check_base(base, config, clusters, trust_remote_code)


@quiet_transformers()
def check_base(base: str, config: ExplainerConfig, clusters: int, trust_remote_code: bool = False) -> None:
    """Check, without loading its weights, that a base model is available and can be converted as configured.

    Raises:
        ConfigError: It is not, or cannot; the message says what to do.
    """
    config = config.resolve_defaults(base=True)
    if config.load_in_4bit:
        four_bit_config(torch.float32)
    skeleton = load_skeleton(base, trust_remote_code)
    tokenizer, _ = load_tokenizer(base, trust_remote_code)
    gavamoe_config = model_config(config, skeleton.config, tokenizer, clusters, SoftTokenVectors.of_unknown())
    gavamoe_config.partition = "random"  # a clustered partition reads weights, and it cannot fail
    GavamoeForCausalLM(gavamoe_config, skeleton)


@quiet_transformers()
def from_base(
    base: str,
    config: ExplainerConfig,
    clusters: int,
    soft_token_vectors: SoftTokenVectors,
    trust_remote_code: bool = False,
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerBase]:
    """Load a pretrained LM and turn its FFNs into experts as `config.initialisation` says.

    Args:
        base: hub id or directory.
        config: settings of stage 2.
        clusters: number of gates.
        soft_token_vectors: initial vectors of users and of items.
        trust_remote_code: whether code that comes with the base may run.

    Raises:
        ConfigError: The base cannot be loaded or converted as configured.
    """
    config = config.resolve_defaults(base=True)
    tokenizer, new_ids = load_tokenizer(base, trust_remote_code)
    frozen = config.tuning == "lora"
    # Frozen weights may be held in bf16; trained weights need fp32.
    in_bf16 = frozen and use_bf16(config.precision, base_width(base, trust_remote_code))
    dtype = torch.bfloat16 if in_bf16 else torch.float32
    lm = load_base(base, dtype, config.load_in_4bit, trust_remote_code)
    extend_vocabulary(lm, len(tokenizer), new_ids)
    # A copy, because transformers resets the attention implementation of a composed configuration's parts. Without it,
    # the LM's own configuration would lose the setting.
    gavamoe_config = model_config(config, copy.deepcopy(lm.config), tokenizer, clusters, soft_token_vectors)
    return _finish(GavamoeForCausalLM(gavamoe_config, lm), tokenizer, soft_token_vectors), tokenizer


def base_width(base: str, trust_remote_code: bool) -> int:
    """Return H, the width of a base model, from its configuration alone."""
    return int(load_pretrained(base, AutoConfig, trust_remote_code).get_text_config().hidden_size)


def model_config(
    config: ExplainerConfig,
    text_config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    clusters: int,
    soft_token_vectors: SoftTokenVectors,
) -> GavamoeConfig:
    """Return the model's configuration, with sizes after refinement, from settings with resolved defaults.

    Raises:
        ConfigError: The FFNs of `text_config` cannot be divided as configured.
    """
    initialisation = config.initialisation or "random"
    width = _expert_width(config, text_config.get_text_config().intermediate_size)
    shared = config.shared_experts or 0
    shape = MoEShape.refined(clusters, config.experts, config.top_k, width, config.granularity, shared)
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
        users=soft_token_vectors.n_users,
        items=len(soft_token_vectors.items) - 1,
        user_rows=None if soft_token_vectors.user_row_N is None else len(soft_token_vectors.users) - 1,
        side_width=soft_token_vectors.users.shape[1],
        user_token_id=special_token_id(tokenizer, USER),
        item_token_id=special_token_id(tokenizer, ITEM),
        text_token_id=special_token_id(tokenizer, EXPLAIN),
        balance_weight=config.balance_weight,
        z_weight=config.z_weight,
        dropout=config.dropout,
        router_jitter=config.router_jitter,
        evidence=config.evidence or 0,
        history=config.history,
    )


def _expert_width(config: ExplainerConfig, neurons: int) -> int:
    """Return the width of one expert before refinement, where a dense FFN has `neurons`."""
    if config.initialisation == "partition":
        parts = config.experts * config.granularity + (config.shared_experts or 0)  # shared experts are refined
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


def _finish(
    model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, soft_token_vectors: SoftTokenVectors
) -> GavamoeForCausalLM:
    """Set the soft tokens' vectors, and generation that stops at the tokenizer's end token."""
    model.user_token.copy_vectors(soft_token_vectors.users, soft_token_vectors.user_row_N)
    model.item_token.copy_vectors(soft_token_vectors.items)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def load_skeleton(base: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """Return the LM of a hub id or directory without its weights (on the meta device).

    Raises:
        ConfigError: It cannot be loaded, or has no gated MLP to convert.
    """
    config = load_pretrained(base, AutoConfig, trust_remote_code)
    try:
        with torch.device("meta"):
            skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except ValueError as error:
        raise base_error(base, error) from None
    if not any(gated_mlps(skeleton)):
        raise ConfigError(
            f"{base} ({type(skeleton).__name__}) has no gated MLP (gate_proj, up_proj, down_proj) to convert; "
            "choose a base model like Llama, Qwen, Mistral, SmolLM or Gemma"
        )
    return skeleton
