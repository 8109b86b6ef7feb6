"""Conversion of a dense language model: the guarantees of each initialisation, on every model family."""

import pytest
import torch
from helpers.checkpoints import FAMILIES, save_base
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2MoeConfig

from gavamoe.errors import ConfigError
from gavamoe.moe.block import MoEShape, MultiGateMoE, RoutingState
from gavamoe.moe.convert import convert, gated_mlps
from gavamoe.moe.initialise import _clustered_parts, routing_scale

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
# FFNs of 32 neurons; r = 2 refines 4 experts, top 2, into 8, top 4. Shared ones are one or two refined experts.
SHAPES = {
    "adapter": {"experts": 8, "width": 3},
    "partition": {"experts": 8, "width": 4},
    "replicate": {"experts": 8, "width": 16},
    "random": {"experts": 8, "width": 5},
}


def on_disk(path, family=LlamaConfig):
    return AutoModelForCausalLM.from_pretrained(save_base(path, family), dtype=torch.float32).eval()


def converted(model, initialisation, granularity=2, **other):
    """Logits before and after, and the routing."""
    ids = torch.randint(3, 60, (3, 7))
    routing = RoutingState()
    shape = MoEShape(3, top_k=4, scale=routing_scale(initialisation, 4, granularity), **SHAPES[initialisation])
    with torch.no_grad():
        before = model(ids).logits
        layers, partition = other.pop("layers", None), other.pop("partition", "random")
        convert(model, MoEShape(**{**vars(shape), **other}), routing, initialisation, partition, layers)
        routing.begin(torch.tensor([0, 1, 2]))
        return before, model(ids).logits, routing


@families
@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize("initialisation", ["adapter", "replicate"])
def test_the_converted_model_starts_equal_to_the_base_model(family, initialisation, shared, tmp_path):
    before, after, _ = converted(on_disk(tmp_path, family), initialisation, shared_experts=shared, jitter=0.5)
    if initialisation == "adapter":
        assert torch.equal(before, after)
    else:
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@families
@pytest.mark.parametrize("partition", ["random", "clustered"])
@pytest.mark.parametrize("shared", [0, 2])
def test_partition_with_every_expert_selected_is_the_dense_model(family, partition, shared, tmp_path):
    model = on_disk(tmp_path, family)
    x = torch.randn(10, 16)
    expected = [mlp(x) for _, _, mlp in gated_mlps(model)]
    experts = 8 - shared
    shape = MoEShape(2, experts=experts, top_k=experts, width=4, shared_experts=shared)
    convert(model, shape, RoutingState(), "partition", partition)
    every = torch.arange(experts).expand(10, experts)
    for layer, output in zip(model.model.layers, expected, strict=True):
        summed = layer.mlp.experts(x, every, torch.ones(10, experts))
        summed = summed + layer.mlp.shared(x) if shared else summed
        torch.testing.assert_close(summed, output, rtol=1e-4, atol=1e-5)


def test_partitioned_experts_with_equal_weights_equal_the_dense_ffn(tmp_path):
    model = on_disk(tmp_path)
    x = torch.randn(2, 5, 16)
    expected = next(mlp for _, _, mlp in gated_mlps(model))(x)
    routing = RoutingState()
    convert(model, MoEShape(2, 8, 8, 4, scale=routing_scale("partition", 8, 2)), routing, "partition")
    block = model.model.layers[0].mlp
    torch.nn.init.zeros_(block.gate.weight_CEH)  # a gate without preference, every expert selected
    routing.begin(torch.tensor([0, 1]))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_a_partition_starts_close_to_the_dense_ffn_with_its_own_gates_at_any_width():
    torch.manual_seed(0)
    hidden = 2048
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20}
    model = AutoModelForCausalLM.from_config(LlamaConfig(hidden_size=hidden, intermediate_size=32, **sizes))
    dense, x = model.model.layers[0].mlp, torch.randn(2, 5, hidden)
    expected, routing = dense(x), RoutingState()
    convert(model, MoEShape(2, 8, 8, 4, scale=routing_scale("partition", 8, 2)), routing, "partition")
    block = model.model.layers[0].mlp
    routing.begin(torch.tensor([0, 1]))
    assert (block(x) - expected).norm() < 0.03 * expected.norm()
    weight_BSK = 8 * block.gate(x, routing.cluster_B)[2]
    assert (weight_BSK - 1).abs().max() < 0.06
    assert (weight_BSK - 1).abs().max() > 1e-4  # the weights are not all equal


@pytest.mark.parametrize("initialisation", SHAPES)
def test_only_the_named_layers_are_converted(initialisation, tmp_path):
    model = on_disk(tmp_path)
    dense = model.model.layers[0].mlp
    _, after, routing = converted(model, initialisation, layers=[1])
    assert model.model.layers[0].mlp is dense
    assert isinstance(model.model.layers[1].mlp, MultiGateMoE)
    assert list(routing.logits) == [1]
    assert torch.isfinite(after).all()
    with pytest.raises(ConfigError, match=r"layers \[2\]: choose among 0 to 1"):
        convert(on_disk(tmp_path), MoEShape(2, 8, 4, 4), RoutingState(), layers=[2])


def test_an_adapter_keeps_the_ffn_module_frozen(tmp_path):
    model = on_disk(tmp_path)
    dense = [mlp for _, _, mlp in gated_mlps(model)]
    converted(model, "adapter")
    for layer, mlp in zip(model.model.layers, dense, strict=True):
        assert layer.mlp.dense is mlp
        assert not any(parameter.requires_grad for parameter in mlp.parameters())
        assert all(parameter.requires_grad for parameter in layer.mlp.experts.parameters())
    model.train()(torch.randint(3, 60, (3, 7))).logits.square().sum().backward()
    # The first factor gets no gradient yet, because the second starts at 0.
    assert model.model.layers[1].mlp.experts.down_proj.grad.abs().sum() > 0
    assert model.model.layers[1].mlp.dense.gate_proj.weight.grad is None


def test_jitter_changes_router_logits_in_training_only():
    routing = RoutingState()
    block = MultiGateMoE(MoEShape(1, 4, 2, 8, jitter=0.5), 16, "silu", 0, routing)
    x = torch.randn(1, 5, 16)
    logits = []
    for training in (False, False, True, True):
        routing.begin(torch.tensor([0]))
        block.train(training)(x)
        logits.append(routing.logits[0])
    assert torch.equal(logits[0], logits[1])
    assert not torch.equal(logits[1], logits[2])
    assert not torch.equal(logits[2], logits[3])


def test_clustering_groups_neurons_with_similar_input_weights():
    torch.manual_seed(0)
    kind = torch.randperm(24) % 3
    reads = torch.nn.functional.one_hot(kind, 8).float()[:, None].expand(24, 2, 8) + 0.05 * torch.randn(24, 2, 8)
    parts = _clustered_parts(reads * torch.rand(24, 1, 1), 3)
    assert parts.flatten().sort().values.tolist() == list(range(24))
    assert all(len(kind[part].unique()) == 1 for part in parts)


def test_a_random_partition_does_not_depend_on_the_seed(tmp_path):
    models = [on_disk(tmp_path) for _ in range(2)]
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        convert(model, MoEShape(2, 8, 4, 4), RoutingState(), "partition")
    one, other = (model.model.layers[0].mlp.experts.down_proj for model in models)
    assert torch.equal(one, other)


def test_a_model_without_a_gated_mlp_is_a_config_error():
    model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=20))
    with pytest.raises(ConfigError, match="GPT2LMHeadModel has no gated MLP"):
        convert(model, MoEShape(2, 4, 2, 8), RoutingState())


def test_a_model_that_already_has_experts_is_a_config_error():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = {"num_experts": 4, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 32}
    model = AutoModelForCausalLM.from_config(Qwen2MoeConfig(vocab_size=20, **sizes, **experts))
    with pytest.raises(ConfigError, match="Qwen2MoeForCausalLM has no gated MLP"):
        convert(model, MoEShape(2, 4, 2, 8), RoutingState())


def test_sizes_that_do_not_fit_the_ffn_are_config_errors_with_numbers(tmp_path):
    with pytest.raises(ConfigError, match=r"32 neurons among 5 experts of 8"):
        convert(on_disk(tmp_path), MoEShape(2, 5, 2, 8), RoutingState(), "partition")
    with pytest.raises(ConfigError, match=r"copies the FFN's 32 neurons.*6 experts of 16 with 3 a token"):
        convert(on_disk(tmp_path), MoEShape(2, 6, 3, 16), RoutingState(), "replicate")


def test_an_mlp_with_biases_works_with_adapter_only(tmp_path):
    save_base(tmp_path, mlp_bias=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with pytest.raises(ConfigError, match="initialisation=adapter, which keeps the MLP"):
        convert(model, MoEShape(2, 8, 4, 4), RoutingState(), "partition")
    before, after, _ = converted(AutoModelForCausalLM.from_pretrained(tmp_path).eval(), "adapter")
    assert torch.equal(before, after)
