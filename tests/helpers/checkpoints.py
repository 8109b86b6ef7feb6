"""Small random base models with a tokenizer, saved like a pretrained checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    SmolLM3Config,
)

from gavamoe.language.tokenizer import train_tokenizer

FAMILIES = [LlamaConfig, Qwen3Config, MistralConfig, GemmaConfig, SmolLM3Config]
TEXTS = [
    f"a {adjective} film with a {noun}" for adjective in ("fine", "dull", "bold") for noun in ("heart", "hole", "plot")
] * 5
END = "<eos>"
CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[answer]"


def base_tokenizer(chat: bool = False) -> PreTrainedTokenizerFast:
    """Return a tokenizer with its own end token and no beginning, padding or prompt tokens."""
    trained = train_tokenizer(TEXTS, 300).backend_tokenizer.to_str()
    for name in ("pad", "end", "user", "item", "rating", "feature", "explain", "evidence"):
        trained = trained.replace(f"<|{name}|>", END if name == "end" else f"<unused {name}>")
    from tokenizers import Tokenizer

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(trained), eos_token=END)
    tokenizer.chat_template = CHAT if chat else None
    return tokenizer


def save_base(path: Path, family: Any = LlamaConfig, chat: bool = False, **sizes: Any) -> str:
    """Write a checkpoint of `family` with tokenizer to `path`: hidden 16, FFNs of 32 neurons, 2 layers."""
    torch.manual_seed(0)
    tokenizer = base_tokenizer(chat)
    tokenizer.save_pretrained(path)
    config = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }
    model = AutoModelForCausalLM.from_config(family(**config | sizes))
    with torch.no_grad():  # away from 0, so that a changed FFN changes the text
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(path)
    return str(path)
