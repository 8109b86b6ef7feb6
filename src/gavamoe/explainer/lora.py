"""Parameter-efficient training (PEFT): low-rank factors beside frozen weights, saved merged or as an adapter.

attention                            LoRA
kept FFNs (lora_targets=all)         LoRA
gates, soft tokens, new tokens' rows in full
experts                              in full if they are new (adapter, random); low-rank factors of their 3-D
                                     weights if they come from pretrained FFNs (partition, replicate)
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerBase

from gavamoe.config import ExplainerConfig
from gavamoe.errors import RunError
from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.language.base_model import extend_vocabulary, load_base
from gavamoe.language.prompt import END, PAD, SPECIAL_TOKENS
from gavamoe.language.tokenizer import token_name
from gavamoe.moe.convert import text_decoder

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
ADAPTER_CONFIG = "adapter_config.json"


def add_lora(model: GavamoeForCausalLM, tokenizer: PreTrainedTokenizerBase, config: ExplainerConfig) -> PeftModel:
    """Freeze a model and add low-rank factors and copies of the parts that are trained in full.

    Args:
        model: stage 2 around a base.
        tokenizer: the model's.
        config: with its defaults resolved.

    Returns:
        The PEFT model; trained parameters are float32.
    """
    added = tokenizer.get_added_vocab()
    new_ids = [added[name] for token in (PAD, END, *SPECIAL_TOKENS) if (name := token_name(tokenizer, token)) in added]
    full = ["user_token", "item_token", "gate", *(["shared"] if config.shared_experts else [])]
    low_rank = config.low_rank_experts
    rows = {_name_of(model, table): new_ids for table in (model.get_input_embeddings(), model.get_output_embeddings())}
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=_target_pattern(model, config.lora_targets == "all"),
        target_parameters=["experts.gate_up_proj", "experts.down_proj"] if low_rank else None,
        modules_to_save=full if low_rank else [*full, "experts"],
        trainable_token_indices=rows,
    )
    with _ignore_future_warnings():
        tuned = get_peft_model(model, lora)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return tuned


def merge_lora(tuned: nn.Module) -> GavamoeForCausalLM:
    """Return a plain model that computes what `tuned` does, in the precision of its base; a plain one unchanged."""
    if not isinstance(tuned, PeftModel):
        return tuned  # type: ignore[return-value]
    dtype = tuned.get_base_model().dtype
    return tuned.merge_and_unload().to(dtype)


def save_adapter(tuned: PeftModel, base: str, directory: Path) -> None:
    """Write what was trained (adapter_model.safetensors), the model's configuration, and where its base is."""
    tuned.peft_config["default"].base_model_name_or_path = base
    tuned.save_pretrained(directory, save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # PEFT's model card; the run has its own
    model = tuned.get_base_model()
    model.config.save_pretrained(directory)
    model.generation_config.save_pretrained(directory)


def load_adapter(directory: Path, base: str | None = None) -> GavamoeForCausalLM:
    """Load what `save_adapter` wrote and merge it into a freshly loaded base.

    Args:
        directory: where the adapter is.
        base: where the base is now; None is where the adapter says.

    Raises:
        RunError: The base is no longer where the adapter says.
        ConfigError: The base cannot be loaded.
    """
    adapter: dict[str, Any] = json.loads((directory / ADAPTER_CONFIG).read_text("utf-8"))
    base = base or adapter["base_model_name_or_path"]
    if Path(base).is_absolute() and not Path(base).exists():
        raise RunError(
            f"the base model of {directory} is not at {base} any more; write its new location into "
            f"{directory / ADAPTER_CONFIG}, as base_model_name_or_path"
        )
    config = GavamoeConfig.from_pretrained(directory, trust_remote_code=False)
    # In the precision that the base had in training, which the LM's own configuration states.
    lm = load_base(base, config.text_config.get_text_config().dtype or torch.float32)
    extend_vocabulary(lm, config.vocabulary, [])
    with _ignore_future_warnings():
        model = merge_lora(PeftModel.from_pretrained(GavamoeForCausalLM(config, lm), directory))
    model.generation_config = GenerationConfig.from_pretrained(directory)
    return model


def load_model(directory: Path) -> GavamoeForCausalLM:
    """Load stage 2's model from a run, whether it was saved whole or as an adapter."""
    if (directory / ADAPTER_CONFIG).is_file():
        return load_adapter(directory)
    return GavamoeForCausalLM.from_pretrained(directory, trust_remote_code=False)


@contextmanager
def _ignore_future_warnings() -> Iterator[None]:
    """Hide that PEFT calls transformers by names that will change: the user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _target_pattern(model: GavamoeForCausalLM, with_feed_forward: bool) -> str:
    """Return a pattern of the text decoder's layers with low-rank factors; other parts of a multimodal base have none.

    The FFNs are those that the base keeps: beside experts (`dense`) and in layers without experts (`mlp`).
    """
    layers = rf"({'|'.join(ATTENTION)})"
    if with_feed_forward:
        layers = rf"({layers}|(dense|mlp)\.({'|'.join(FEED_FORWARD)}))"
    return rf"{re.escape(_name_of(model, text_decoder(model.lm)))}\..*\.{layers}"


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    """Return the dotted name of a module inside a model."""
    return next(name for name, module in model.named_modules() if module is wanted)
