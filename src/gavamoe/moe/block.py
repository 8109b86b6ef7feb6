"""The block that takes the place of a decoder layer's MLP: a gate per cluster, experts shared by all gates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts
from gavamoe.moe.gate import ClusterGate
from gavamoe.moe.routing import RoutingState


@dataclass(frozen=True)
class MoEShape:
    """Sizes of one block after refinement: `experts` of `width`, `top_k` of them a token, one gate per cluster."""

    clusters: int
    experts: int
    top_k: int
    width: int
    shared_experts: int = 0
    dropout: float = 0.0

    @classmethod
    def refined(
        cls,
        clusters: int,
        experts: int,
        top_k: int,
        width: int,
        granularity: int,
        shared: int = 0,
        dropout: float = 0.0,
    ) -> MoEShape:
        """N experts of width d, top k, refined by r: r*N of width d/r, top r*k. Same parameters, same cost."""
        return cls(clusters, granularity * experts, granularity * top_k, width // granularity, shared, dropout)


class MultiGateMoE(nn.Module):
    """h -> sum_k p_k Expert_k(h) with the gate of each sequence's cluster, plus the shared experts."""

    def __init__(self, shape: MoEShape, hidden: int, activation: str, layer: int, routing: RoutingState):
        super().__init__()
        self.shape, self.layer = shape, layer
        self.routing = routing
        self.gate = ClusterGate(shape.clusters, shape.experts, hidden, shape.top_k)
        self.experts = FineGrainedExperts(ExpertsConfig(), shape.experts, hidden, shape.width, activation)
        self.shared = (
            SharedExpert(hidden, shape.shared_experts * shape.width, activation) if shape.shared_experts else None
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x_BSH: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]; the clusters of the B sequences are in the routing state."""
        cluster_B = self.routing.cluster_B
        if cluster_B is None or len(cluster_B) != len(x_BSH):
            given = "no" if cluster_B is None else f"{len(cluster_B)}"
            raise ValueError(f"{given} cluster ids for a batch of {len(x_BSH)} sequences: pass cluster_ids [batch]")
        logits_BSE, selected_BSK, weight_BSK = self.gate(x_BSH, cluster_B)
        self.routing.logits[self.layer], self.routing.selected[self.layer] = logits_BSE, selected_BSK
        y_TH = self.experts(x_BSH.flatten(0, 1), selected_BSK.flatten(0, 1), weight_BSK.flatten(0, 1))
        y_BSH = y_TH.view_as(x_BSH)
        if self.shared is not None:
            y_BSH = y_BSH + self.shared(x_BSH)
        return self.dropout(y_BSH)


class SharedExpert(nn.Module):
    """The expert every token passes through: a gated MLP of its own."""

    def __init__(self, hidden: int, width: int, activation: str):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)
        self.act_fn = ACT2FN[activation]

    def forward(self, x_BSH: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]."""
        return self.down_proj(self.act_fn(self.gate_proj(x_BSH)) * self.up_proj(x_BSH))


def balance_loss(logits_BSE: Tensor, selected_BSK: Tensor, mask_BS: Tensor) -> Tensor:
    """Switch Transformer's load balance E * sum_e share_e * probability_e over the real tokens; 1 when even, scalar.

    Taken over all clusters together: within one cluster, uneven use is what the gates are for.
    """
    weight_BS1 = mask_BS.to(logits_BSE.dtype).unsqueeze(-1)
    tokens = weight_BS1.sum().clamp_min(1)
    probability_E = (logits_BSE.softmax(-1) * weight_BS1).sum((0, 1)) / tokens
    experts, top_k = logits_BSE.shape[-1], selected_BSK.shape[-1]
    chosen_BSE = torch.zeros_like(logits_BSE).scatter_(-1, selected_BSK, 1.0)
    share_E = (chosen_BSE * weight_BS1).sum((0, 1)) / (tokens * top_k)
    return experts * (share_E.detach() * probability_E).sum()


def z_loss(logits_BSE: Tensor, mask_BS: Tensor) -> Tensor:
    """ST-MoE's router z loss: mean squared log-sum-exp of the router logits over the real tokens, scalar."""
    square_BS = torch.logsumexp(logits_BSE, dim=-1).square() * mask_BS
    return square_BS.sum() / mask_BS.sum().clamp_min(1)
