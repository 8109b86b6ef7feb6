"""Gate, experts, block and router losses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import silu

from gavamoe.moe import experts as experts_module
from gavamoe.moe.block import MoEShape, MultiGateMoE, RoutingState
from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts, grouped_experts_forward
from gavamoe.moe.gate import ClusterGate
from gavamoe.moe.losses import balance_loss, z_loss


def test_gate_weights_are_the_softmax_over_all_renormalised_over_the_selected():
    torch.manual_seed(0)
    gate = ClusterGate(clusters=3, experts=6, hidden=8, top_k=2)
    logits, selected, weight = gate(torch.randn(4, 5, 8), torch.tensor([0, 2, 1, 0]))
    chosen = logits.softmax(-1).gather(-1, selected)
    torch.testing.assert_close(weight, chosen / chosen.sum(-1, keepdim=True))


def test_gates_start_equal_and_each_learns_from_its_own_cluster():
    gate = ClusterGate(clusters=2, experts=4, hidden=8, top_k=2)
    x, clusters = torch.randn(1, 3, 8), (torch.tensor([0]), torch.tensor([1]))
    torch.testing.assert_close(*(gate(x, cluster)[0] for cluster in clusters))
    gate(x, clusters[0])[0].square().sum().backward()
    with torch.no_grad():
        gate.weight_CEH -= 0.1 * gate.weight_CEH.grad
    assert gate.weight_CEH.grad[1].eq(0).all()
    assert not torch.allclose(*(gate(x, cluster)[0] for cluster in clusters))


def test_trained_gates_that_are_shared_again_route_as_before():
    gate = ClusterGate(clusters=3, experts=4, hidden=8, top_k=2)
    torch.nn.init.normal_(gate.weight_CEH)
    before = gate.weight_CEH.detach().clone()
    gate.share(0.1)
    torch.testing.assert_close(gate.effective_CEH(), before)
    gate.merge()
    torch.testing.assert_close(gate.weight_CEH.detach(), before)


def test_shared_gates_learn_from_every_cluster_and_most_from_their_own():
    gate = ClusterGate(clusters=3, experts=4, hidden=8, top_k=2)
    gate.own_share = 0.4
    gate(torch.randn(1, 3, 8), torch.tensor([0]))[0].square().sum().backward()
    own, *others = gate.weight_CEH.grad
    torch.testing.assert_close(others[0], others[1])
    torch.testing.assert_close(others[0], own * 0.2 / 0.6)  # (1 - .4) / 3 of the mean, and .4 of the own part


def test_shared_gates_route_the_same_after_they_are_merged_into_the_papers():
    gate = ClusterGate(clusters=3, experts=4, hidden=8, top_k=2)
    torch.nn.init.normal_(gate.weight_CEH)
    gate.own_share = 0.1
    x, clusters = torch.randn(5, 3, 8), torch.tensor([0, 2, 1, 0, 1])
    before = gate(x, clusters)
    gate.merge()
    assert gate.own_share == 1
    for found, expected in zip(gate(x, clusters), before, strict=True):
        torch.testing.assert_close(found, expected)


KERNELS = ("eager", "by_device", "grouped_mm", "batched_mm")


def one_by_one(experts, x, selected, weight):
    """The definition, in float64: sum_k weight_k Expert_{selected_k}(x), a token at a time."""
    gate_up, down = experts.gate_up_proj.double(), experts.down_proj.double()
    rows = []
    for token, ids, weights in zip(x.double(), selected.tolist(), weight.double(), strict=True):
        parts = [(gate_up[e] @ token).chunk(2) for e in ids]
        outs = [down[e] @ (silu(gate) * up) for e, (gate, up) in zip(ids, parts, strict=True)]
        rows.append(sum(weight_k * out for weight_k, out in zip(weights, outs, strict=True)))
    return torch.stack(rows)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    tokens=st.sampled_from([1, 2, 3, 8, 40]),
    experts=st.integers(1, 9),
    top_k=st.integers(1, 4),
    hidden=st.sampled_from([4, 16, 36]),
    width=st.sampled_from([4, 8, 20]),
)
def test_every_kernel_matches_the_definition_and_its_gradients(seed, tokens, experts, top_k, hidden, width):
    torch.manual_seed(seed)
    module = FineGrainedExperts(ExpertsConfig(), experts, hidden, width, activation="silu")
    x = torch.randn(tokens, hidden, requires_grad=True)
    selected = torch.rand(tokens, experts).topk(min(top_k, experts)).indices
    weight = torch.rand(selected.shape).softmax(-1).requires_grad_()
    inputs = [x, weight, module.gate_up_proj, module.down_proj]
    expected = one_by_one(module, x, selected, weight)
    gradients = torch.autograd.grad(expected.square().sum(), inputs)
    for kernel in KERNELS:
        module.config._experts_implementation = kernel
        output = module(x, selected, weight)
        assert output.dtype == x.dtype
        torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-5, msg=kernel)
        for got, want in zip(torch.autograd.grad(output.square().sum(), inputs), gradients, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4, msg=kernel)


@pytest.mark.parametrize(
    ("neurons", "few", "expected"), [(32, 32, "all"), (32, 31, "loop"), (0, 256, "all")], ids=["few", "many", "default"]
)
def test_experts_with_few_neurons_are_computed_all_at_once(neurons, few, expected, monkeypatch):
    monkeypatch.setattr(experts_module, "FEW_NEURONS", few)
    module, taken = FineGrainedExperts(ExpertsConfig(), 4, 8, neurons // 4 or 64, activation="silu"), []
    for name in ("all", "loop"):
        kernel = {"all": "all_experts_forward", "loop": "loop_experts_forward"}[name]
        monkeypatch.setattr(experts_module, kernel, lambda *args, name=name: taken.append(name) or args[1])
    module(torch.randn(3, 8), torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1))
    assert taken == [expected]


def test_trained_experts_in_float32_take_the_inputs_of_a_base_in_bf16():
    module = FineGrainedExperts(ExpertsConfig(), 6, 16, 8, activation="silu")
    x, selected = torch.randn(5, 16).bfloat16(), torch.rand(5, 6).topk(3).indices
    weight = torch.rand(5, 3).softmax(-1)
    output = module(x, selected, weight)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), one_by_one(module, x, selected, weight), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("few", [0, 256], ids=["loop", "all"])
@pytest.mark.parametrize("tokens", [1, 40])
def test_half_precision_loses_only_the_rounding_of_its_inputs(tokens, few, monkeypatch):
    monkeypatch.setattr(experts_module, "FEW_NEURONS", few)
    torch.manual_seed(0)
    module = FineGrainedExperts(ExpertsConfig(), 6, 16, 8, activation="silu").bfloat16()
    x, selected = torch.randn(tokens, 16).bfloat16(), torch.rand(tokens, 6).topk(3).indices
    weight = torch.rand(tokens, 3).softmax(-1)
    output = module(x, selected, weight)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), one_by_one(module, x, selected, weight), rtol=0.03, atol=0.03)


def test_under_autocast_the_grouped_kernel_multiplies_in_its_precision(monkeypatch):
    torch.manual_seed(0)
    module = FineGrainedExperts(ExpertsConfig(), 6, 16, 8, activation="silu")
    x, selected = torch.randn(40, 16, requires_grad=True), torch.rand(40, 6).topk(3).indices
    weight, seen = torch.rand(40, 3).softmax(-1), []
    kernel = experts_module.grouped_mm_experts_forward

    def watched(experts, x, *routing):
        seen.append({x.dtype, experts.gate_up_proj.dtype, experts.down_proj.dtype})
        return kernel(experts, x, *routing)

    monkeypatch.setattr(experts_module, "grouped_mm_experts_forward", watched)
    plain = grouped_experts_forward(module, x, selected, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = grouped_experts_forward(module, x, selected, weight)
    assert seen == [{torch.float32}, {torch.bfloat16}]
    assert output.dtype == torch.float32
    assert not torch.equal(output, plain)
    torch.testing.assert_close(output, plain, rtol=0.03, atol=0.03)
    output.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert module.gate_up_proj.grad.dtype == module.down_proj.grad.dtype == torch.float32


def test_row_alignment_is_checked_in_the_precision_of_the_kernel(monkeypatch):
    module = FineGrainedExperts(ExpertsConfig(), 4, 16, 4, activation="silu")  # rows of 16 bytes, or of 8
    x, selected, weight = torch.randn(5, 16), torch.rand(5, 4).topk(2).indices, torch.rand(5, 2).softmax(-1)
    taken = []
    monkeypatch.setattr(experts_module, "loop_experts_forward", lambda *args: taken.append("loop") or args[1])
    monkeypatch.setattr(experts_module, "grouped_mm_experts_forward", lambda *args: taken.append("grouped") or args[1])
    grouped_experts_forward(module, x, selected, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grouped_experts_forward(module, x, selected, weight)
    assert taken == ["grouped", "loop"]


@given(order=st.permutations(range(12)), cut=st.integers(1, 11), kernel=st.sampled_from(["eager", "by_device"]))
@settings(max_examples=20, deadline=None)
def test_permuting_or_splitting_the_tokens_changes_no_row(order, cut, kernel):
    torch.manual_seed(0)
    module = FineGrainedExperts(ExpertsConfig(kernel), 5, 16, 8, activation="silu")
    x, selected, weight = torch.randn(12, 16), torch.rand(12, 5).topk(2).indices, torch.rand(12, 2).softmax(-1)
    together = module(x, selected, weight)
    parts = [module(x[rows], selected[rows], weight[rows]) for rows in (order[:cut], order[cut:])]
    torch.testing.assert_close(torch.cat(parts), together[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_an_expert_that_a_token_selects_twice_counts_twice(kernel):
    torch.manual_seed(0)
    module = FineGrainedExperts(ExpertsConfig(kernel), 4, 16, 8, activation="silu")
    x, selected, weight = torch.randn(5, 16), torch.tensor([[1, 1]] * 5), torch.rand(5, 2)
    expected = one_by_one(module, x, selected, weight)
    torch.testing.assert_close(module(x, selected, weight).double(), expected, rtol=1e-4, atol=1e-5)


def test_an_expert_that_no_token_selects_gets_no_gradient():
    experts = FineGrainedExperts(ExpertsConfig("eager"), experts=3, hidden=8, width=4, activation="silu")
    selected = torch.zeros(5, 1, dtype=torch.long)
    experts(torch.randn(5, 8), selected, torch.ones(5, 1)).sum().backward()
    assert experts.down_proj.grad[1:].abs().sum() == 0
    assert experts.down_proj.grad[0].abs().sum() > 0


def test_permuted_sequences_give_permuted_outputs():
    torch.manual_seed(0)
    routing = RoutingState()
    block = MultiGateMoE(MoEShape(3, experts=4, top_k=2, width=8, shared_experts=1), 16, "silu", 0, routing)
    x, cluster = torch.randn(5, 6, 16), torch.tensor([0, 1, 2, 0, 1])
    order = torch.tensor([3, 0, 4, 2, 1])
    routing.begin(cluster)
    first = block(x)
    routing.begin(cluster[order])
    torch.testing.assert_close(block(x[order]), first[order], rtol=1e-4, atol=1e-6)


def test_refining_keeps_total_and_active_parameters():
    coarse, fine = (MoEShape.refined(2, experts=4, top_k=2, width=32, granularity=r) for r in (1, 4))
    assert coarse.experts * coarse.width == fine.experts * fine.width
    assert coarse.top_k * coarse.width == fine.top_k * fine.width


def test_balance_loss_is_one_for_even_use_and_larger_when_one_expert_gets_all_tokens():
    even = torch.zeros(1, 4, 4)
    selected = torch.arange(4).view(1, 4, 1)
    mask = torch.ones(1, 4)
    assert balance_loss(even, selected, mask).item() == pytest.approx(1.0)
    greedy = torch.tensor([10.0, 0, 0, 0]).expand(1, 4, 4)
    assert balance_loss(greedy, torch.zeros(1, 4, 1, dtype=torch.long), mask) > 3.9


def test_router_losses_ignore_padding():
    logits, selected = torch.randn(2, 5, 4), torch.rand(2, 5, 4).topk(2).indices
    mask = torch.ones(2, 5)
    mask[:, 3:] = 0
    other = logits.clone()
    other[:, 3:] = 100.0
    assert balance_loss(logits, selected, mask) == pytest.approx(balance_loss(other, selected, mask).item())
    assert z_loss(logits, mask) == pytest.approx(z_loss(other, mask).item())


def test_router_losses_of_several_layers_at_once_are_those_of_each_layer():
    logits_LBSE, mask_BS = torch.randn(3, 2, 5, 4), (torch.rand(2, 5) > 0.3).float()
    selected_LBSK = torch.rand(3, 2, 5, 4).topk(2).indices
    balance_L, z_L = balance_loss(logits_LBSE, selected_LBSK, mask_BS), z_loss(logits_LBSE, mask_BS)
    for layer, (logits, selected) in enumerate(zip(logits_LBSE, selected_LBSK, strict=True)):
        assert balance_L[layer] == pytest.approx(balance_loss(logits, selected, mask_BS).item())
        assert z_L[layer] == pytest.approx(z_loss(logits, mask_BS).item())
