"""What a training and its texts need on given devices: memory, tokens per second, hours (formulae: docs/scale.md).

base model, settings --model_size--> ModelSize --plan--> Plan: memory per device, speed and hours of train and explain

Parameters are counted on a model without weights. The constants below come from measurements that docs/scale.md names;
a figure for other devices than those is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from torch import nn

from gavamoe.config import ExplainerConfig, RunConfig
from gavamoe.errors import ConfigError
from gavamoe.explainer.build import load_skeleton, model_config
from gavamoe.explainer.generate import BATCH as DECODING_BATCH
from gavamoe.explainer.lora import ATTENTION, FEED_FORWARD
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.explainer.soft_tokens import SoftTokenVectors
from gavamoe.language.named_bases import find_base
from gavamoe.language.quiet import quiet_transformers
from gavamoe.moe.convert import text_decoder
from gavamoe.parameters import num_parameters

GIB = 1 << 30
HALF, SINGLE = 2, 4  # bytes of a weight in bf16 and float32
OPTIMISER = 12  # bytes of gradient and Adam's two moments
ACTIVATION = 134  # bytes per hidden dimension, layer and token that training keeps (SmolLM2 on an H100: 11.4 GB)
LOGIT = 10  # bytes per logit: bf16, its float32 copy, and the gradient of that
RESERVE = 0.95  # share of a device's memory that may be planned
LAYER_LAUNCHES = 0.0127  # seconds per layer and step in which an H100 waits for the host (H100: 0.0114 and 0.0140)
FORWARD_LAUNCHES = 0.0053  # the part of these that a forward takes
GPU_FLOPS = 3e14  # FLOP/s that an H100 reaches in bf16: a guess, a third of its peak
CPU_TRAINING, CPU_WRITING = 45e9, 30e9  # FLOP/s per core in float32, as measured
STAGE_1_CPU = 44_000  # interactions per second of stage 1 on two cores
USERS_SHARE, ITEMS_SHARE = 0.08, 0.02  # users and items per interaction: a guess


@dataclass(frozen=True)
class ModelSize:
    """Sizes of a model around a base.

    Attributes:
        parameters: all of them, without the vectors of users and items.
        trained: those that are trained.
        active: parameters that a token multiplies: all but the input embeddings and the experts it does not select.
        layers: decoder layers.
        hidden: width.
        vocabulary: tokens.
        cache: bytes of keys and values per token, in bf16.
        soft_token_width: dimensions of the vector of a user or item.
    """

    parameters: int
    trained: int
    active: int
    layers: int
    hidden: int
    vocabulary: int
    cache: int
    soft_token_width: int


@quiet_transformers()
def model_size(base: str, config: RunConfig) -> ModelSize:
    """Count the parameters of a model around a base, of which the configuration is enough.

    Args:
        base: directory, GGUF file, named base, or a hub id that is in the local cache.
        config: settings of the run.

    Raises:
        ConfigError: The base is not here, or cannot be converted as configured.
    """
    _check_offline(base)
    skeleton, explainer = load_skeleton(base), config.explainer.resolve_defaults(base=True)
    width = config.preference.embedding * explainer.use_preference_vectors + explainer.soft_token_width
    sizes = model_config(
        explainer,
        skeleton.config,
        _NoTokenizer(),
        config.preference.clusters,
        SoftTokenVectors.of_unknown(width),
    )
    sizes.partition = "random"  # a clustered partition reads weights
    model = GavamoeForCausalLM(sizes, skeleton)
    text = model.config.text_config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    parameters = num_parameters(model)
    unselected = 1 - sizes.experts_per_token / sizes.experts
    idle = num_parameters(model, containing=[".experts."]) * unselected
    if not text.tie_word_embeddings:
        idle += sizes.vocabulary * text.hidden_size  # of the input embeddings, which are looked up
    return ModelSize(
        parameters=parameters,
        trained=trained_parameters(model, explainer),
        active=int(parameters - idle),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=sizes.vocabulary,
        cache=2 * HALF * text.num_hidden_layers * text.num_key_value_heads * head,
        soft_token_width=width,
    )


class _NoTokenizer:
    """Stands for the tokenizer of a base that may be a configuration only: the prompt's tokens have no ids."""

    unk_token_id = 0

    def convert_tokens_to_ids(self, token: str) -> int:
        return 0

    def get_added_vocab(self) -> dict[str, int]:
        return {}


def _check_offline(base: str) -> None:
    """Raise `ConfigError` for a hub id whose configuration is not in the local cache."""
    location = find_base(base).location
    try:
        is_here = Path(location).exists() or isinstance(try_to_load_from_cache(location, "config.json"), str)
    except HFValidationError:
        is_here = False
    if not is_here:
        raise ConfigError(
            f"--base-model {base} is no local directory, and its config.json is not in the cache of the Hugging Face "
            f"hub; fetch it with `hf download {location} config.json`"
        )


def trained_parameters(model: GavamoeForCausalLM, config: ExplainerConfig) -> int:
    """Return how many parameters are trained, without the rows of new tokens (`gavamoe.explainer.lora`).

    Args:
        model: around a base, before LoRA is added.
        config: with its defaults resolved.
    """
    if config.tuning == "full":
        return num_parameters(model, only_trainable=True)
    low_rank = config.low_rank_experts
    whole = ("user_token.", "item_token.", ".gate.weight_CEH", ".shared.", *(() if low_rank else (".experts.",)))
    total = num_parameters(model, containing=whole)
    targets = ATTENTION + (FEED_FORWARD if config.lora_targets == "all" else ())
    for name, module in text_decoder(model.lm).named_modules():
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in targets and ".shared." not in name:
            total += config.lora_rank * (module.in_features + module.out_features)
    if low_rank:
        experts = (p for name, p in model.named_parameters() if ".experts." in name)
        total += sum(config.lora_rank * len(p) * sum(p.shape[1:]) for p in experts)
    return total


def plan(size: ModelSize, config: RunConfig, gpus: int, memory_gib: float, reviews: int, cores: int) -> dict[str, Any]:
    """Return memory per device, speed and hours of training and of explaining every review once.

    Args:
        size: of the model.
        config: settings of the run.
        gpus: number of GPUs; 0 for CPUs.
        memory_gib: memory of each GPU, or of the machine, in GiB.
        reviews: number of training reviews; stage 2 trains on at most `explainer.max_reviews` of them.
        cores: CPU cores, where there is no GPU.
    """
    explainer = config.explainer.resolve_defaults(base=True)
    stage_2_reviews = min(reviews, explainer.max_reviews or reviews)
    prompt, text = explainer.prompt_tokens, explainer.max_tokens + 1
    weight = HALF if gpus else SINGLE
    users = USERS_SHARE * reviews
    if config.preference.user_rows is not None:
        users = min(users, config.preference.user_rows)
    tables = int(users + ITEMS_SHARE * reviews) * size.soft_token_width * (SINGLE + OPTIMISER)
    fixed = weight * (size.parameters - size.trained) + (SINGLE + OPTIMISER) * size.trained + tables
    sequence = sequence_bytes(size, prompt, text, explainer.gradient_checkpointing) * weight / HALF
    largest = max(int((RESERVE * memory_gib * GIB - fixed) // sequence), 0)
    stage_1_epochs = config.preference.pretrain_epochs + config.preference.epochs
    writing = writing_speed(size, text, gpus, cores)
    return {
        "parameters": size.parameters,
        "trained": size.trained,
        "active": size.active,
        "tokens_per_review": prompt + text,
        "train": {
            "fits": largest >= 1,
            "fixed_gib": fixed / GIB,
            "fixed_sharded_gib": fixed / max(gpus, 1) / GIB,
            "sequence_gib": sequence / GIB,
            **_training(size, explainer, gpus, cores, stage_2_reviews, fixed, sequence, largest),
            "stage_1_hours": stage_1_epochs * reviews / STAGE_1_CPU / 3600,
        },
        "explain": {
            "memory_per_device_gib": (weight * size.parameters + DECODING_BATCH * (prompt + text) * size.cache) / GIB,
            "tokens_per_second": writing,
            "texts_per_second": writing / (text * explainer.candidates),
            "hours": reviews * text * explainer.candidates / writing / 3600,
        },
    }


def _training(
    size: ModelSize,
    explainer: ExplainerConfig,
    gpus: int,
    cores: int,
    reviews: int,
    fixed: float,
    sequence: float,
    largest: int,
) -> dict[str, Any]:
    """Return memory, speed and hours of stage 2 with the configured batch, and with the largest.

    Args:
        size: of the model.
        explainer: settings of stage 2.
        gpus: number of GPUs; 0 for CPUs.
        cores: CPU cores, where there is no GPU.
        reviews: number of reviews that stage 2 trains on.
        fixed: bytes of weights and optimiser on a device.
        sequence: bytes of one sequence.
        largest: sequences that fit on a device.
    """
    tokens = explainer.prompt_tokens + explainer.max_tokens + 1
    per_device = -(-explainer.batch_size // (max(gpus, 1) * explainer.accumulation))
    at_once = max(min(per_device, largest), 1)  # a batch that does not fit can be accumulated
    speed, fastest = (
        training_speed(size, explainer, tokens, gpus, cores, batch) for batch in (at_once, max(largest, 1))
    )
    work = explainer.epochs * reviews * tokens / 3600
    return {
        "batch_per_device": per_device,
        "memory_per_device_gib": (fixed + at_once * sequence) / GIB,
        "batch_fits": largest >= per_device,
        "largest_batch_per_device": largest,
        "tokens_per_second": speed,
        "tokens_per_second_largest_batch": fastest if largest else None,
        "hours": work / speed,
        "hours_largest_batch": work / fastest if largest else None,
    }


def sequence_bytes(size: ModelSize, prompt: int, text: int, checkpointing: bool) -> float:
    """Return the bytes that training in bf16 keeps for one sequence: activations, and logits of the text."""
    layers = 1 + size.layers * HALF / ACTIVATION if checkpointing else size.layers  # one layer's, and every input
    return (prompt + text) * layers * size.hidden * ACTIVATION + text * size.vocabulary * LOGIT


def training_speed(size: ModelSize, config: ExplainerConfig, tokens: int, gpus: int, cores: int, batch: int) -> float:
    """Return tokens per second of training on all devices.

    A step takes the host's time to launch every layer, and the time of the arithmetic: per token and parameter 2 FLOP
    forward, 2 for the gradients of activations, and 2 for those of trained weights.

    Args:
        size: of the model.
        config: settings of stage 2.
        tokens: of a sequence.
        gpus: number of GPUs; 0 for CPUs.
        cores: CPU cores, where there is no GPU.
        batch: sequences at once on a device.
    """
    flops, launches = training_flops(size, config.tuning == "full"), LAYER_LAUNCHES
    if config.gradient_checkpointing:  # which computes the forward twice
        flops, launches = flops + 2.0 * size.active, launches + FORWARD_LAUNCHES
    if not gpus:
        return cores * CPU_TRAINING / flops
    step = size.layers * launches + batch * tokens * flops / GPU_FLOPS
    return gpus * batch * tokens / step


def training_flops(size: ModelSize, full: bool) -> float:
    """Return the FLOP of training one token."""
    return 6.0 * size.active if full else 4.0 * size.active + 2.0 * min(size.trained, size.active)


def writing_speed(size: ModelSize, text: int, gpus: int, cores: int) -> float:
    """Return generated tokens per second on all devices, over all drafts; the prompt's arithmetic is left out."""
    flops = 2.0 * size.active
    if not gpus:
        return cores * CPU_WRITING / flops
    return gpus * DECODING_BATCH / (size.layers * FORWARD_LAUNCHES + DECODING_BATCH * flops / GPU_FLOPS)
