"""Converting a dense language model."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
    SmolLM3Config,
)

from gavamoe.errors import ConfigError
from gavamoe.moe.block import MoEShape
from gavamoe.moe.convert import convert, gated_mlps
from gavamoe.moe.routing import RoutingState

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = [LlamaConfig, Qwen3Config, MistralConfig, GemmaConfig, SmolLM3Config]


def on_disk(family, path):
    """A small random checkpoint, written and loaded as a user's would be."""
    torch.manual_seed(0)
    sizes = SIZES | ({"head_dim": 8} if family in (GemmaConfig, Qwen3Config) else {})
    AutoModelForCausalLM.from_config(family(**sizes)).save_pretrained(path)
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_partition_with_every_expert_selected_is_the_dense_model(family, tmp_path):
    model = on_disk(family, tmp_path)
    ids = torch.randint(3, 60, (2, 7))
    dense = [mlp for _, _, mlp in gated_mlps(model)]
    x = torch.randn(10, 16)
    expected = [mlp(x) for mlp in dense]
    routing = RoutingState()
    convert(model, MoEShape(clusters=2, experts=4, top_k=4, width=8), routing, "partition")
    blocks = [layer.mlp for layer in model.model.layers]
    every = torch.arange(4).expand(10, 4)
    for block, output in zip(blocks, expected, strict=True):
        torch.testing.assert_close(block.experts(x, every, torch.ones(10, 4)), output, rtol=1e-4, atol=1e-5)
    routing.begin(torch.tensor([0, 1]))
    assert model(ids).logits.shape == (2, 7, 60)


def test_replicated_experts_are_the_dense_model_whatever_the_gate_says(tmp_path):
    model = on_disk(LlamaConfig, tmp_path)
    ids = torch.randint(3, 60, (3, 7))
    expected = model(ids).logits
    routing = RoutingState()
    convert(model, MoEShape(clusters=3, experts=3, top_k=2, width=32), routing, "replicate")
    routing.begin(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(model(ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_a_model_without_a_gated_mlp_is_one_clear_line():
    model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=20))
    with pytest.raises(ConfigError, match="GPT2LMHeadModel has no gated MLP"):
        convert(model, MoEShape(2, 4, 2, 8), RoutingState())


def test_sizes_that_do_not_divide_the_ffn_are_refused_by_number(tmp_path):
    with pytest.raises(ConfigError, match=r"32 neurons among 5 experts of 8"):
        convert(on_disk(LlamaConfig, tmp_path), MoEShape(2, 5, 2, 8), RoutingState(), "partition")
