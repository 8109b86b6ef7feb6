"""The block that replaces a decoder layer's MLP: one gate per cluster, experts shared by all gates.

    x -> gate of the sequence's cluster -> top-k experts, weighted sum -> + shared experts -> + the frozen MLP -> y
                                                                          (if any)            (`dense`, if any)

Shape suffixes: B batch, S sequence, T tokens (B*S), H hidden, C clusters, E experts, K selected experts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn
from transformers.activations import ACT2FN

from gavamoe.moe.experts import ExpertsConfig, FineGrainedExperts
from gavamoe.moe.gate import ClusterGate


@dataclass(frozen=True)
class MoEShape:
    """Sizes of one block, after refinement.

    Attributes:
        clusters: C, number of gates.
        experts: E, number of experts.
        top_k: K, experts per token.
        width: W, neurons of an expert.
        shared_experts: experts of the same width that every token passes through.
        dropout: dropout rate of the experts' output.
        jitter: in training, the gate's inputs are scaled by a random factor in 1 +- jitter.
        scale: sum of the selected experts' weights. It is 1 where whole FFNs are averaged. Experts that are pieces of
            one FFN are summed (`gavamoe.moe.initialise.routing_scale`).
        shared_scale: weight of each shared expert.
    """

    clusters: int
    experts: int
    top_k: int
    width: int
    shared_experts: int = 0
    dropout: float = 0.0
    jitter: float = 0.0
    scale: float = 1.0
    shared_scale: float = 1.0

    @classmethod
    def refined(
        cls,
        clusters: int,
        experts: int,
        top_k: int,
        width: int,
        granularity: int,
        shared: int = 0,
    ) -> MoEShape:
        """Return the sizes for N experts of width d with top k, refined by r: r*N of width d/r with top r*k.

        Total and active parameters do not change.

        Args:
            clusters: C, number of gates.
            experts: N, number of experts before refinement.
            top_k: k, experts per token before refinement.
            width: d, width of an expert before refinement.
            granularity: r; it divides `width`.
            shared: number of refined experts that every token passes through.
        """
        return cls(clusters, granularity * experts, granularity * top_k, width // granularity, shared)


class MultiGateMoE(nn.Module):
    """y = scale * sum_k p_k Expert_k(x) + shared_scale * Shared(x) + Dense(x), with the gate of a sequence's cluster.

    Args:
        shape: sizes of the block.
        hidden: H, width of the model.
        activation: name of the experts' activation function, as in transformers.
        layer: number of the decoder layer, the key of this block in the routing state.
        routing: the model's routing state: it gives the clusters and receives logits and selections.
        dense: the layer's own MLP, kept as the same module and frozen, so that the experts learn what to add to it.
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
        self.routing, self.routed = routing, routing.layer(layer)
        self.gate = ClusterGate(shape.clusters, shape.experts, hidden, shape.top_k, shape.jitter)
        self.experts = FineGrainedExperts(ExpertsConfig(), shape.experts, hidden, shape.width, activation)
        self.shared = (
            SharedExpert(hidden, shape.shared_experts * shape.width, activation) if shape.shared_experts else None
        )
        self.dense = dense.requires_grad_(False) if dense is not None else None
        self.dropout = nn.Dropout(shape.dropout) if shape.dropout else nn.Identity()  # which draws no numbers

    def forward(self, x_BSH: Tensor) -> Tensor:
        """Return the output, [B, S, H], for inputs [B, S, H].

        Raises:
            ValueError: the routing state does not hold one cluster for each of the B sequences.
        """
        cluster_B = self.routing.cluster_B
        if cluster_B is None or len(cluster_B) != len(x_BSH):
            given = "no" if cluster_B is None else f"{len(cluster_B)}"
            raise ValueError(f"{given} cluster ids for a batch of {len(x_BSH)} sequences: pass cluster_ids [batch]")
        logits_BSE, selected_BSK, weight_BSK = self.gate(x_BSH, cluster_B)
        self.routed.logits_BSE, self.routed.selected_BSK = logits_BSE, selected_BSK
        weight_BSK = self.shape.scale * weight_BSK
        y_TH = self.experts(x_BSH.flatten(0, 1), selected_BSK.flatten(0, 1), weight_BSK.flatten(0, 1))
        y_BSH: Tensor = y_TH.view_as(x_BSH)
        if self.shared is not None:
            y_BSH = y_BSH + self.shape.shared_scale * self.shared(x_BSH)
        y_BSH = self.dropout(y_BSH)
        if self.dense is not None:
            y_BSH = y_BSH + self.dense(x_BSH)
        return y_BSH


class SharedExpert(nn.Module):
    """The expert that every token passes through: down(act(gate(x)) * up(x)), without a router."""

    def __init__(self, hidden: int, width: int, activation: str):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, width, bias=False)
        self.up_proj = nn.Linear(hidden, width, bias=False)
        self.down_proj = nn.Linear(width, hidden, bias=False)
        self.act_fn = ACT2FN[activation]
        for projection in (self.gate_proj, self.up_proj, self.down_proj):
            nn.init.normal_(projection.weight, std=hidden**-0.5)  # like the routed experts

    def forward(self, x_BSH: Tensor) -> Tensor:
        """Return the output, [B, S, H], for inputs [B, S, H]."""
        y_BSH: Tensor = self.down_proj(self.act_fn(self.gate_proj(x_BSH)) * self.up_proj(x_BSH))
        return y_BSH


@dataclass
class LayerRouting:
    """What one block routed in the last forward pass.

    Attributes:
        logits_BSE: router logits; None if the block has not run.
        selected_BSK: selected experts.
    """

    logits_BSE: Tensor | None = None
    selected_BSK: Tensor | None = None


@dataclass
class RoutingState:
    """What a model and its blocks exchange in one forward pass; one object per model.

    The decoder layers of transformers pass only hidden states to an MLP, so the clusters travel in this object. It
    stays valid until the next forward pass, because gradient checkpointing reads it in backward. Each block writes to
    an object of its own: a block that wrote under its layer's number could not share compiled code with other layers.

    Attributes:
        cluster_B: cluster of each sequence, int64.
        layers: what each block routed, by layer.
    """

    cluster_B: Tensor | None = None
    layers: dict[int, LayerRouting] = field(default_factory=dict)

    def layer(self, number: int) -> LayerRouting:
        """Return the object that the block of a layer writes to."""
        return self.layers.setdefault(number, LayerRouting())

    def begin(self, cluster_B: Tensor) -> None:
        """Start a forward pass: set the clusters of its sequences, and clear logits and selections."""
        self.cluster_B = cluster_B
        for routed in self.layers.values():
            routed.logits_BSE = routed.selected_BSK = None

    @property
    def logits(self) -> dict[int, Tensor]:
        """Return the router logits by layer, [B, S, E] each, in the order of the layers."""
        found = ((number, routed.logits_BSE) for number, routed in sorted(self.layers.items()))
        return {number: logits_BSE for number, logits_BSE in found if logits_BSE is not None}

    @property
    def selected(self) -> dict[int, Tensor]:
        """Return the selected experts by layer, [B, S, K] each, in the order of the layers."""
        found = ((number, routed.selected_BSK) for number, routed in sorted(self.layers.items()))
        return {number: selected_BSK for number, selected_BSK in found if selected_BSK is not None}
