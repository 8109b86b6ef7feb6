"""A stock checkpoint as a GGUF, the file of llama.cpp, written with the names of the package gguf.

    Mixtral           llama, with experts     query and key rows in llama.cpp's order of rotary pairs
    GraniteMoeShared  granitemoe              the same, and the shared expert
    Qwen3Moe          qwen3moe

llama.cpp's qwen2moe does not renormalise the weights of the selected experts, so a Qwen2 run cannot be written.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from gavamoe.errors import ConfigError
from gavamoe.export.architectures import StockLayout

ARCHITECTURES = {"mixtral": "LLAMA", "granitemoeshared": "GRANITE_MOE", "qwen3_moe": "QWEN3MOE"}
ROTARY_PAIRS = ("mixtral", "granitemoeshared")  # architectures whose query and key rows llama.cpp wants as pairs
# Names of Granite's parts, and names for the same that the package gguf knows.
GRANITE_NAMES = {
    "block_sparse_moe.router": "mlp.gate",
    "block_sparse_moe": "mlp",
    "shared_mlp.output_linear": "mlp.shared_expert.down_proj",
    "shared_mlp": "mlp.shared_expert",
}
# llama.cpp's name of a byte-level tokenizer, by the patterns that split a text into words.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITTERS = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (QWEN2, "ByteLevel"): "qwen2",
    (QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1), "ByteLevel"): "llama-bpe",
}


def check_gguf(layout: StockLayout, text: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that llama.cpp has the architecture, the rotary embedding and the tokenizer of a run.

    Raises:
        ConfigError: It has not, or the package gguf is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("--gguf needs the package gguf: pip install 'gavamoe[gguf]'")
    if layout.family not in ARCHITECTURES:
        raise ConfigError("--gguf: llama.cpp weights the experts of a Qwen2Moe otherwise; leave --gguf out")
    if layout.family == "qwen3_moe" and len(layout.moe_layers) < layout.layers:
        raise ConfigError("--gguf: llama.cpp has no Qwen3Moe in which some layers have no experts; leave --gguf out")
    if (rope := text.rope_parameters.get("rope_type", "default")) != "default":
        raise ConfigError(f"--gguf: rotary embeddings of the type {rope} are not supported; leave --gguf out")
    _splitter(tokenizer)


def write_gguf(stock: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, layout: StockLayout, path: Path) -> None:
    """Write weights and tokenizer of a stock checkpoint, in its own precision.

    Args:
        stock: the stock model.
        tokenizer: the checkpoint's.
        layout: its architecture.
        path: the file to write.
    """
    import gguf

    architecture = gguf.MODEL_ARCH[ARCHITECTURES[layout.family]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type("model")
    writer.add_name(path.parent.name)
    _add_sizes(writer, stock.config, layout)
    _add_tokenizer(writer, tokenizer, stock.config.vocab_size)
    names = gguf.get_tensor_name_map(architecture, layout.layers)
    for name, tensor in _tensors(stock, layout):
        stem, _, suffix = name.rpartition(".")
        data = tensor.detach().float().numpy()
        # llama.cpp reads vectors and routers in float32.
        half = stock.dtype != torch.float32 and data.ndim > 1 and not stem.endswith("mlp.gate")
        kind = gguf.GGMLQuantizationType.BF16 if half else gguf.GGMLQuantizationType.F32
        known = names.get_name(stem)
        assert known is not None, f"the package gguf has no name for {name}"
        stored = gguf.quants.quantize(data, kind) if half else np.ascontiguousarray(data)
        writer.add_tensor(f"{known}.{suffix}", stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_sizes(writer: Any, config: PretrainedConfig, layout: StockLayout) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    expert = config.moe_intermediate_size if layout.family == "qwen3_moe" else config.intermediate_size
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layout.layers)
    writer.add_feed_forward_length(expert)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_expert_count(layout_experts := int(config.num_local_experts))
    writer.add_expert_used_count(min(config.num_experts_per_tok, layout_experts))
    if layout.family == "qwen3_moe":
        writer.add_expert_feed_forward_length(expert)
    if layout.family == "granitemoeshared":
        writer.add_expert_shared_feed_forward_length(layout.shared_width)
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(1.0)
        writer.add_residual_scale(1.0)
        writer.add_logit_scale(1.0)


def _add_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Write a byte-level BPE tokenizer; ids without a token become unused ones."""
    import gguf

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    kinds = gguf.TokenType
    added = set(tokenizer.added_tokens_decoder)
    types = [
        kinds.CONTROL
        if number in special
        else (kinds.USER_DEFINED if number in added else (kinds.NORMAL if number in names else kinds.UNUSED))
        for number in range(size)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitter(tokenizer))
    writer.add_token_list([names.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(types)
    merges = content["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(False)  # a prompt has it where the run's prompts have it
    writer.add_add_eos_token(False)


def _splitter(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return llama.cpp's name for how a tokenizer splits words.

    Raises:
        ConfigError: It is none of the known byte-level ones.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend is not None else {}
    before = content.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    kinds = tuple(step.get("pattern", {}).get("Regex") or step.get("type", "") for step in steps)
    if content.get("model", {}).get("type") != "BPE" or kinds not in SPLITTERS:
        raise ConfigError(
            "--gguf: the tokenizer is none of the byte-level ones that are supported (from scratch, SmolLM2, Qwen, "
            "Llama 3); leave --gguf out"
        )
    return SPLITTERS[kinds]


def _tensors(stock: PreTrainedModel, layout: StockLayout) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights with names that the package gguf knows, as llama.cpp wants them."""
    config = stock.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in stock.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for theirs, known in GRANITE_NAMES.items():
            name = name.replace(theirs, known)
        stem, _, last = name.rpartition(".")
        part = stem.rpartition(".")[2]
        if part in heads and layout.family in ROTARY_PAIRS:
            yield name, rotary_pairs(tensor, heads[part])
        elif last == "gate_up_proj":  # of the experts: gate rows, then up rows
            for half, weight in zip(("gate_proj", "up_proj"), tensor.chunk(2, dim=1), strict=True):
                yield f"{stem}.{half}.weight", weight
        elif last == "down_proj":
            yield f"{name}.weight", tensor
        elif part == "input_linear":
            for half, weight in zip(("gate_proj", "up_proj"), tensor.chunk(2), strict=True):
                yield f"{stem.removesuffix(part)}{half}.weight", weight
        else:
            yield name, tensor


def rotary_pairs(weight: Tensor, heads: int) -> Tensor:
    """Return the rows of a query or key projection with the two rows of each rotary pair side by side.

    transformers rotates row j of a head with row j + D / 2, llama.cpp's architectures rows 2j and 2j + 1.
    """
    half = len(weight) // heads // 2
    return weight.view(heads, 2, half, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
