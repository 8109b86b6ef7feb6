"""Memory of each initialisation at the shape of Llama-3.1-8B: computed on the meta device, measured on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from timing import CUDA, DEVICE
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from gavamoe.moe.block import MoEShape, RoutingState
from gavamoe.moe.convert import convert
from gavamoe.moe.initialise import Initialisation
from gavamoe.parameters import num_parameters

GIB = 1 << 30
CLUSTERS, GRANULARITY = 5, 2
LAYERS, MEASURED_LAYERS = 32, 4
# experts, top-k and width before refinement; FFNs of 14,336 neurons.
SHAPES: dict[Initialisation, dict[str, int]] = {
    "adapter": {"experts": 12, "top_k": 3, "width": 32},
    "partition": {"experts": 14, "top_k": 4, "width": 1024},
    "replicate": {"experts": 4, "top_k": 2, "width": 14336},
    "random": {"experts": 12, "top_k": 3, "width": 1280},
}
# Bytes per parameter: frozen in bf16; trained in float32 with its gradient and Adam's two moments.
FROZEN, TRAINED = 2, 16


def measure() -> list[dict[str, Any]]:
    """Return one row per initialisation: parameters, GiB of the weights in bf16, and GiB of training."""
    rows = []
    for initialisation, coarse in SHAPES.items():
        model = _converted(initialisation, coarse, LAYERS, torch.device("meta"))
        total = num_parameters(model)
        new = sum(p.numel() for name, p in model.named_parameters() if ".mlp." in name and ".dense." not in name)
        trained = new if initialisation == "adapter" else total
        row = {
            "initialisation": initialisation,
            "parameters": total,
            "weights_gib": FROZEN * total / GIB,
            "trained": trained,
            "training_gib": (FROZEN * (total - trained) + TRAINED * trained) / GIB,
        }
        rows.append({**row, **(_on_gpu(initialisation, coarse) if CUDA else {})})
    return rows


def _on_gpu(initialisation: Initialisation, coarse: dict[str, int]) -> dict[str, float]:
    """Return GiB of a few layers with embeddings converted on the GPU: computed, allocated, peak."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = _converted(initialisation, coarse, MEASURED_LAYERS, DEVICE)
    computed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    allocated, peak = torch.cuda.memory_allocated() - before, torch.cuda.max_memory_allocated() - before
    return {"layers_measured": MEASURED_LAYERS} | {
        name: value / GIB for name, value in (("computed", computed), ("allocated", allocated), ("peak", peak))
    }


def _converted(initialisation: Initialisation, coarse: dict[str, int], layers: int, device: torch.device) -> nn.Module:
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=False,
        dtype=torch.bfloat16,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config)
    convert(model, MoEShape.refined(CLUSTERS, granularity=GRANULARITY, **coarse), RoutingState(), initialisation)
    return model
