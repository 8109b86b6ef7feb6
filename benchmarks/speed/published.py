"""Stage 2's training as published, reimplemented from its description as the reference for speed.

Each step has one sequence. Each layer's MLP finds its gate in each call by counting calls, and loops over all experts,
each with a separate mask and each a module of three linear layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.moe.block import MoEShape, RoutingState, SharedExpert


class PublishedMoE(nn.Module):
    """The published layer, with the same sizes as `MultiGateMoE`."""

    def __init__(self, shape: MoEShape, hidden: int, activation: str, routing: RoutingState):
        super().__init__()
        self.gates = nn.ModuleList(nn.Linear(hidden, shape.experts, bias=False) for _ in range(shape.clusters))
        self.experts = nn.ModuleList(SharedExpert(hidden, shape.width, activation) for _ in range(shape.experts))
        self.top_k, self.routing, self.calls = shape.top_k, routing, 0
        self.clusters: list[int] = []  # of the sequences, in the order of the calls

    def forward(self, x_1SH: Tensor) -> Tensor:
        """[1, S, H] -> [1, S, H]."""
        gate = self.gates[self.clusters[self.calls % len(self.clusters)]]
        self.calls += 1
        x_SH = x_1SH[0]
        weight_SK, selected_SK = gate(x_SH).softmax(-1).topk(self.top_k)
        weight_SK = weight_SK / weight_SK.sum(-1, keepdim=True)
        y_SH = torch.zeros_like(x_SH)
        chosen_EKS = nn.functional.one_hot(selected_SK, len(self.experts)).permute(2, 1, 0)
        for number, expert in enumerate(self.experts):
            choice, token = torch.where(chosen_EKS[number])
            y_SH.index_add_(0, token, expert(x_SH[token]) * weight_SK[token, choice, None])
        return y_SH.unsqueeze(0)


def publish(model: GavamoeForCausalLM, clusters: list[int]) -> GavamoeForCausalLM:
    """Replace the blocks of `model` by published ones, for sequences whose clusters come in this order."""
    for layer in model.lm.model.layers:
        block = layer.mlp
        published = PublishedMoE(block.shape, block.experts.hidden_dim, "silu", model.routing)
        published.clusters = clusters
        layer.mlp = published.to(model.device)
    model.config.balance_weight = model.config.z_weight = 0.0
    model.router_loss = lambda *args: torch.zeros((), device=model.device)  # type: ignore[method-assign]
    return model
