"""Which stock architecture of transformers computes exactly what a run computes for one cluster.

    base            experts replace the FFN      FFN or shared experts beside them
    Llama, Mistral  Mixtral                      GraniteMoeShared, all multipliers neutral
    Qwen2           Qwen2Moe, shared expert 0    Qwen2Moe, its gate fixed at 1/2 and the shared expert doubled
    Qwen3           Qwen3Moe                     none: no stock architecture has QK norm and an ungated shared expert

All of them take the softmax over the selected experts, or over all and renormalise, which is the same. The scale of a
run's routing is folded into the experts' output weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from transformers import (
    GraniteMoeSharedConfig,
    MixtralConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from gavamoe.errors import ConfigError
from gavamoe.explainer.configuration import GavamoeConfig

Family = Literal["mixtral", "granitemoeshared", "qwen2_moe", "qwen3_moe"]
LLAMA_LIKE = ("llama", "mistral")
ALIGNMENT = 8  # kernels of transformers take rows of 16 bytes, 8 numbers in bf16, so experts are filled up to that
SMALLEST_SHARED = 16  # width of a shared expert that is 0; Qwen2Moe cannot be without one
ADVICE = "export without --cluster, which keeps the run's own format"


@dataclass(frozen=True)
class StockLayout:
    """What a stock architecture has to hold.

    Attributes:
        family: the stock architecture, by its `model_type`.
        layers: number of decoder layers.
        moe_layers: the layers with experts.
        expert_width: neurons of an expert, with those that add 0 (`ALIGNMENT`).
        ffn_width: neurons of an FFN that the base keeps.
        shared_width: neurons that every token passes through in a layer with experts; 0 is none.
    """

    family: Family
    layers: int
    moe_layers: tuple[int, ...]
    expert_width: int
    ffn_width: int
    shared_width: int


def choose_layout(config: GavamoeConfig) -> StockLayout:
    """Return the stock architecture for a run, and its sizes.

    Raises:
        ConfigError: No stock architecture computes the same; the line says why.
    """
    text = config.text_config
    layers = int(text.num_hidden_layers)
    moe_layers = tuple(sorted(config.moe_layers)) if config.moe_layers is not None else tuple(range(layers))
    keeps_ffn = config.initialisation == "adapter"
    shared_width = config.shared_experts * config.expert_width + (text.intermediate_size if keeps_ffn else 0)
    _check_backbone(text, keeps_ffn, bool(shared_width))
    family = _family(text, shared_width > 0 or len(moe_layers) < layers)
    if family == "granitemoeshared" and len(moe_layers) < layers:
        shared_width = max(shared_width, text.intermediate_size)  # a layer without experts has its FFN there
    expert_width = -(-config.expert_width // ALIGNMENT) * ALIGNMENT
    return StockLayout(family, layers, moe_layers, expert_width, int(text.intermediate_size), shared_width)


def _family(text: PretrainedConfig, needs_shared: bool) -> Family:
    if text.model_type == "qwen2":
        return "qwen2_moe"
    if text.model_type == "qwen3":
        return "qwen3_moe"
    if not needs_shared and not getattr(text, "attention_bias", False):
        return "mixtral"
    if text.num_attention_heads * _head_width(text) != text.hidden_size:
        raise _refusal(f"heads of {_head_width(text)} dimensions that do not divide a width of {text.hidden_size}")
    if getattr(text, "sliding_window", None):
        raise _refusal("sliding-window attention together with an FFN beside the experts")
    return "granitemoeshared"


def _check_backbone(text: PretrainedConfig, keeps_ffn: bool, has_shared: bool) -> None:
    """Raise `ConfigError` for what no stock architecture has."""
    kind = text.model_type
    if kind not in (*LLAMA_LIKE, "qwen2", "qwen3"):
        raise _refusal(f"a {kind} base; Llama (SmolLM2 too), Mistral, Qwen2 and Qwen3 bases can be exported")
    if text.hidden_act != "silu":
        raise _refusal(f"the activation {text.hidden_act}, which serving engines do not have in experts")
    if keeps_ffn and getattr(text, "mlp_bias", False):
        raise _refusal("an FFN with biases beside the experts")
    if kind == "qwen3" and has_shared:
        raise _refusal("a Qwen3 base with an FFN or shared experts beside the routed ones")
    if kind.startswith("qwen") and "sliding_attention" in (getattr(text, "layer_types", None) or ()):
        raise _refusal("layers with sliding-window attention among others")


def _refusal(what: str) -> ConfigError:
    return ConfigError(f"no architecture of transformers represents {what}; {ADVICE}")


def _head_width(text: PretrainedConfig) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def stock_config(
    config: GavamoeConfig, layout: StockLayout, tokenizer: PreTrainedTokenizerBase, vocabulary: int, tied: bool
) -> PretrainedConfig:
    """Return the configuration of the stock architecture.

    Args:
        config: of the run's model.
        layout: from `choose_layout`.
        tokenizer: names the special tokens.
        vocabulary: rows of the embeddings.
        tied: whether input and output embeddings are one table.
    """
    text = config.text_config
    copied = (
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_act"),
        *("max_position_embeddings", "rms_norm_eps", "rope_parameters", "initializer_range"),
    )
    common: dict[str, Any] = {
        **{name: getattr(text, name) for name in copied},
        **{"vocab_size": vocabulary, "tie_word_embeddings": tied, "num_experts_per_tok": config.experts_per_token},
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")},
    }
    if layout.family == "mixtral":
        return MixtralConfig(
            **common,
            head_dim=_head_width(text),
            sliding_window=getattr(text, "sliding_window", None),
            num_local_experts=config.experts,
            intermediate_size=layout.expert_width,
        )
    if layout.family == "granitemoeshared":
        return GraniteMoeSharedConfig(
            **common,
            attention_bias=getattr(text, "attention_bias", False),
            attention_multiplier=_head_width(text) ** -0.5,
            num_local_experts=config.experts,
            intermediate_size=layout.expert_width,
            shared_intermediate_size=layout.shared_width,
        )
    return _qwen_config(config, layout, common)


def _qwen_config(config: GavamoeConfig, layout: StockLayout, common: dict[str, Any]) -> PretrainedConfig:
    common |= {
        **{"num_experts": config.experts, "moe_intermediate_size": layout.expert_width, "norm_topk_prob": True},
        **{"intermediate_size": layout.ffn_width, "head_dim": _head_width(config.text_config)},
        "mlp_only_layers": [layer for layer in range(layout.layers) if layer not in layout.moe_layers],
    }
    if layout.family == "qwen2_moe":
        shared = layout.shared_width or SMALLEST_SHARED
        return Qwen2MoeConfig(**common, qkv_bias=True, shared_expert_intermediate_size=shared)
    return Qwen3MoeConfig(**common, attention_bias=config.text_config.attention_bias)
