"""Models whose clusters are exported as stock checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from helpers.checkpoints import save_base
from helpers.soft_tokens import random_vectors
from helpers.worlds import TINY
from transformers import PreTrainedTokenizerFast

from gavamoe.config import ExplainerConfig
from gavamoe.explainer import build
from gavamoe.explainer.modeling import GavamoeForCausalLM

# Where the experts of a layer are: they replace the FFN, or stand beside it.
REPLACED = {"initialisation": "partition"}
BESIDE = {"initialisation": "adapter", "shared_experts": 2}
# The smallest attention heads that vLLM has for CPUs.
VLLM_SIZES = {"hidden_size": 64, "head_dim": 32}


def model_around(
    path: Path, family: Any, sizes: dict[str, Any], **settings: Any
) -> tuple[GavamoeForCausalLM, PreTrainedTokenizerFast]:
    """Return a model of three clusters around a base, with other gates in each, and its tokenizer."""
    torch.manual_seed(0)
    chosen = {"dropout": 0.0, "expert_rank": 8, "expert_width": 8, **settings}
    config = ExplainerConfig(**TINY["explainer"] | chosen).resolve_defaults(base=True)
    vectors = random_vectors()
    model, tokenizer = build.from_base(save_base(path, family, **sizes), config, 3, vectors)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval(), tokenizer
