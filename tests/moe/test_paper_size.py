"""Llama-3.1-8B's shape on the meta device: parameters of the paper's configuration, counted by hand."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from gavamoe.moe.block import MoEShape, RoutingState
from gavamoe.moe.convert import convert
from gavamoe.parameters import num_parameters

HIDDEN, FFN, LAYERS, HEADS, KV, VOCABULARY = 4096, 14336, 32, 32, 8, 128256
ATTENTION = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * (HIDDEN // HEADS * KV)  # q and o, k and v
DENSE = 3 * HIDDEN * FFN
REST = 2 * VOCABULARY * HIDDEN + LAYERS * (ATTENTION + 2 * HIDDEN) + HIDDEN  # two embeddings, layers' norms, last norm
CLUSTERS = 5


def llama_8b():
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV,
        tie_word_embeddings=False,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def test_the_base_has_the_parameters_of_llama_3_1_8b():
    assert num_parameters(llama_8b()) == REST + LAYERS * DENSE == 8_030_261_248


@pytest.mark.parametrize(
    ("initialisation", "coarse", "granularity", "kept"),
    [
        ("random", {"experts": 12, "top_k": 3, "width": 1280}, 1, 0),  # the paper's experts
        ("random", {"experts": 12, "top_k": 3, "width": 1280}, 2, 0),
        ("random", {"experts": 12, "top_k": 3, "width": 1280}, 4, 0),
        ("partition", {"experts": 14, "top_k": 4, "width": 1024}, 2, 0),
        ("replicate", {"experts": 4, "top_k": 2, "width": FFN}, 2, 0),
        ("adapter", {"experts": 12, "top_k": 3, "width": 32}, 2, DENSE),
    ],
)
def test_a_converted_model_has_the_parameters_counted_by_hand(initialisation, coarse, granularity, kept):
    model = llama_8b()
    shape = MoEShape.refined(CLUSTERS, granularity=granularity, **coarse)
    convert(model, shape, RoutingState(), initialisation)
    expert = 3 * HIDDEN * coarse["width"] // granularity
    gates = CLUSTERS * granularity * coarse["experts"] * HIDDEN
    in_experts = granularity * coarse["experts"] * expert
    assert in_experts == coarse["experts"] * 3 * HIDDEN * coarse["width"]  # refining costs nothing but gates
    assert num_parameters(model) == REST + LAYERS * (kept + in_experts + gates)
    block = model.model.layers[7].mlp
    read = granularity * coarse["top_k"] * block.experts.gate_up_proj[0].numel() * 3 // 2  # of the experts, by a token
    assert read == coarse["top_k"] * 3 * HIDDEN * coarse["width"]
    assert all(parameter.device.type == "meta" for parameter in model.parameters())
    assert block.experts.down_proj.dtype == torch.bfloat16


def test_the_papers_experts_total_and_active():
    """12 experts of 1280, 3 per token: 8.4 billion parameters, 3.9 billion active per token."""
    model = llama_8b()
    convert(model, MoEShape.refined(CLUSTERS, 12, 3, 1280, granularity=2), RoutingState(), "random")
    total = num_parameters(model)
    experts = sum(
        layer.mlp.experts.gate_up_proj.numel() + layer.mlp.experts.down_proj.numel() for layer in model.model.layers
    )
    idle_gates = LAYERS * (CLUSTERS - 1) * 24 * HIDDEN
    active = total - experts * (24 - 6) // 24 - idle_gates
    assert total == 2_393_116_672 + LAYERS * (12 * 3 * 4096 * 1280 + 5 * 24 * 4096) == 8_448_643_072
    assert active == 2_393_116_672 + LAYERS * (3 * 3 * 4096 * 1280 + 24 * 4096) == 3_906_211_840
