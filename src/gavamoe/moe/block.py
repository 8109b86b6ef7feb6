"""The block that takes the place of a decoder layer's MLP: a gate per cluster, experts shared by all gates."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn
from transformers.activations import ACT2FN

from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts
from gavamoe.moe.gate import ClusterGate


@dataclass(frozen=True)
class MoEShape:
    """Sizes of one block after refinement: `experts` of `width`, `top_k` of them a token, one gate per cluster.

    scale: what the selected experts' weights sum to. 1 for experts that are whole FFNs; experts that are pieces of
    one FFN are summed, not averaged (`gavamoe.moe.initialise.routing_scale`).
    """

    clusters: int
    experts: int
    top_k: int
    width: int
    shared_experts: int = 0
    dropout: float = 0.0
    jitter: float = 0.0
    scale: float = 1.0

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
    """h -> scale * sum_k p_k Expert_k(h) with the gate of each sequence's cluster, plus what every token takes.

    That is the shared experts and, with `dense`, the layer's own FFN: kept as the very module it was, frozen, so that
    the experts learn what to add to it.
    """

    def __init__(
        self,
        shape: MoEShape,
        hidden: int,
        activation: str,
        layer: int,
        routing: RoutingState,
        dense: nn.Module | None = None,
    ):
        super().__init__()
        self.shape, self.layer = shape, layer
        self.routing = routing
        self.gate = ClusterGate(shape.clusters, shape.experts, hidden, shape.top_k, shape.jitter)
        self.experts = FineGrainedExperts(ExpertsConfig(), shape.experts, hidden, shape.width, activation)
        self.shared = (
            SharedExpert(hidden, shape.shared_experts * shape.width, activation) if shape.shared_experts else None
        )
        self.dense = dense.requires_grad_(False) if dense is not None else None
        self.dropout = nn.Dropout(shape.dropout) if shape.dropout else nn.Identity()  # which draws no numbers

    def forward(self, x_BSH: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]; the clusters of the B sequences are in the routing state."""
        cluster_B = self.routing.cluster_B
        if cluster_B is None or len(cluster_B) != len(x_BSH):
            given = "no" if cluster_B is None else f"{len(cluster_B)}"
            raise ValueError(f"{given} cluster ids for a batch of {len(x_BSH)} sequences: pass cluster_ids [batch]")
        logits_BSE, selected_BSK, weight_BSK = self.gate(x_BSH, cluster_B)
        self.routing.logits[self.layer], self.routing.selected[self.layer] = logits_BSE, selected_BSK
        weight_BSK = self.shape.scale * weight_BSK
        y_TH = self.experts(x_BSH.flatten(0, 1), selected_BSK.flatten(0, 1), weight_BSK.flatten(0, 1))
        y_BSH = y_TH.view_as(x_BSH)
        if self.shared is not None:
            y_BSH = y_BSH + self.shared(x_BSH)
        y_BSH = self.dropout(y_BSH)
        return y_BSH if self.dense is None else y_BSH + self.dense(x_BSH)


class SharedExpert(nn.Module):
    """The expert every token passes through: a gated MLP of its own."""

    def __init__(self, hidden: int, width: int, activation: str):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)
        self.act_fn = ACT2FN[activation]
        for projection in (self.gate_proj, self.up_proj, self.down_proj):
            nn.init.normal_(projection.weight, std=hidden**-0.5)  # as the other experts

    def forward(self, x_BSH: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]."""
        return self.down_proj(self.act_fn(self.gate_proj(x_BSH)) * self.up_proj(x_BSH))


@dataclass
class RoutingState:
    """`cluster_B` int64 [B]; `logits` and `selected`: by layer, router logits [B, S, E] and experts [B, S, K]."""

    cluster_B: Tensor | None = None
    logits: dict[int, Tensor] = field(default_factory=dict)
    selected: dict[int, Tensor] = field(default_factory=dict)

    def begin(self, cluster_B: Tensor) -> None:
        """Start a forward with the clusters of its sequences."""
        self.cluster_B = cluster_B
        self.logits, self.selected = {}, {}
