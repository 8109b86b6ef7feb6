"""A pretrained base model: loaded by hub id or directory, its vocabulary extended, or one line that says why not."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gavamoe.errors import ConfigError
from gavamoe.language.tokenizer import add_special_tokens


def load_base(base: str, dtype: torch.dtype, in_4bit: bool = False) -> PreTrainedModel:
    """The pretrained LM of a hub id or directory; `ConfigError` says what to do where it cannot be had."""
    options: dict[str, Any] = {"quantization_config": four_bits(dtype)} if in_4bit else {}
    lm = load_part(base, AutoModelForCausalLM, dtype=dtype, **options)
    # Where it came from is no part of what is made of it: a run is copied to other machines.
    lm.config.name_or_path = lm.name_or_path = ""
    return lm


def load_tokenizer(base: str) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """The base model's tokenizer with the prompt's marks, and the ids that are new."""
    tokenizer = load_part(base, AutoTokenizer)
    before = len(tokenizer)
    add_special_tokens(tokenizer)
    return tokenizer, list(range(before, len(tokenizer)))


@torch.no_grad()
def extend_vocabulary(lm: Any, vocabulary: int, new_ids: list[int]) -> None:
    """Room for `vocabulary` tokens; the new ones start as the mean of all that the model knows, in and out.

    As an output the mean is unlikely everywhere. A vocabulary that has room already is never cut.
    """
    known = min(new_ids, default=vocabulary)
    if vocabulary > lm.get_input_embeddings().num_embeddings:
        lm.resize_token_embeddings(vocabulary, mean_resizing=False)
    for table in (lm.get_input_embeddings(), lm.get_output_embeddings()):
        table.weight[new_ids] = table.weight[:known].float().mean(0).to(table.weight.dtype)


def load_part(base: str, auto_class: Any, **options: Any) -> Any:
    """Load one part (config, tokenizer or weights) of a base model; `ConfigError` where it cannot be loaded."""
    hub_logging.set_verbosity_error()  # its retries would stand beside our one line
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        return auto_class.from_pretrained(base, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise base_error(base, error) from None


def base_error(base: str, error: Exception) -> ConfigError:
    """Return the one line that says why a base model cannot be used and what to do."""
    cause = error.__cause__
    if isinstance(cause, GatedRepoError):
        return ConfigError(
            f"the base model '{base}' is gated: ask for access at https://huggingface.co/{base}, then `hf auth login`"
        )
    if isinstance(cause, LocalEntryNotFoundError):
        return ConfigError(
            f"the base model '{base}' is no directory here, and the Hugging Face hub cannot be reached to look for it; "
            "check the network, or give a local directory of a causal LM"
        )
    return ConfigError(
        f"cannot load the base model '{base}': {str(error).splitlines()[0]} - give a local directory of a causal LM, "
        "or its hub id (a private one needs `hf auth login`)"
    )


def four_bits(dtype: torch.dtype) -> Any:
    """How a base is held in 4 bits; `ConfigError` where it cannot be."""
    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "explainer.load_in_4bit needs a CUDA GPU and the package bitsandbytes (pip install 'gavamoe[four-bit]'); "
            "leave it out to train beside a base in full precision"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
