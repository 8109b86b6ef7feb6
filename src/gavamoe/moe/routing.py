"""What the blocks of one model share during a forward: the sequences' clusters going in, router logits coming out.

Decoder layers hand only hidden states to their MLP, so the cluster of each sequence travels beside them, in one object
per model that `forward` sets. It stays until the next forward, because gradient checkpointing runs the blocks again
during backward.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


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
