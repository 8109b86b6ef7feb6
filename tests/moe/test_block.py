"""Gate, experts and block."""

import pytest
import torch
from transformers.integrations.moe import batched_mm_experts_forward, grouped_mm_experts_forward

from gavamoe.moe.block import MoEShape, MultiGateMoE
from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts
from gavamoe.moe.gate import ClusterGate
from gavamoe.moe.losses import balance_loss, z_loss
from gavamoe.moe.routing import RoutingState


def test_gate_weights_are_the_softmax_over_all_renormalised_over_the_selected():
    torch.manual_seed(0)
    gate = ClusterGate(clusters=3, experts=6, hidden=8, top_k=2)
    logits, selected, weight = gate(torch.randn(4, 5, 8), torch.tensor([0, 2, 1, 0]))
    chosen = logits.softmax(-1).gather(-1, selected)
    torch.testing.assert_close(weight, chosen / chosen.sum(-1, keepdim=True))


def test_another_cluster_takes_another_gate():
    gate = ClusterGate(clusters=2, experts=4, hidden=8, top_k=2)
    x = torch.randn(1, 3, 8)
    assert not torch.equal(gate(x, torch.tensor([0]))[0], gate(x, torch.tensor([1]))[0])


@pytest.mark.parametrize("tokens", [1, 7, 200])
@pytest.mark.parametrize("kernel", [grouped_mm_experts_forward, batched_mm_experts_forward])
def test_every_kernel_gives_the_same_output_and_gradient(tokens, kernel):
    torch.manual_seed(0)
    experts = FineGrainedExperts(ExpertsConfig("eager"), experts=4, hidden=16, width=8, activation="silu")
    x = torch.randn(tokens, 16, requires_grad=True)
    selected = torch.rand(tokens, 4).topk(2).indices
    weight = torch.rand(tokens, 2).softmax(-1)
    outputs, gradients = [], []
    for run in (experts, lambda *args: kernel(experts, *args)):
        output = run(x, selected, weight)
        outputs.append(output)
        gradients.append(torch.autograd.grad(output.square().sum(), [x, experts.gate_up_proj, experts.down_proj]))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-6)
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-6)


def test_an_expert_nobody_selected_is_no_obstacle_and_gets_no_gradient():
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


def test_balance_loss_is_one_when_even_and_larger_when_one_expert_takes_all():
    even = torch.zeros(1, 4, 4)
    selected = torch.arange(4).view(1, 4, 1)
    mask = torch.ones(1, 4)
    assert balance_loss(even, selected, mask).item() == pytest.approx(1.0)
    greedy = torch.tensor([10.0, 0, 0, 0]).expand(1, 4, 4)
    assert balance_loss(greedy, torch.zeros(1, 4, 1, dtype=torch.long), mask) > 3.9


def test_padding_takes_no_part_in_the_router_losses():
    logits, selected = torch.randn(2, 5, 4), torch.rand(2, 5, 4).topk(2).indices
    mask = torch.ones(2, 5)
    mask[:, 3:] = 0
    other = logits.clone()
    other[:, 3:] = 100.0
    assert balance_loss(logits, selected, mask) == pytest.approx(balance_loss(other, selected, mask).item())
    assert z_loss(logits, mask) == pytest.approx(z_loss(other, mask).item())
