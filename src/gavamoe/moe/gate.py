"""One gate per cluster: the cluster of a sequence decides which gate routes its tokens.

Shape suffixes: B batch, S sequence, H hidden, C clusters, E experts, K selected experts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

START_STD = 0.02  # initial standard deviation of the gates' weights
# Share of a cluster's own part in training with shared gates (`ClusterGate.own_share`).
OWN_SHARE = 0.1


class ClusterGate(nn.Module):
    """Gates W [C, E, H]: router logits x W[cluster]^T, softmax over the experts, top-k, renormalised.

    Args:
        clusters: C, number of gates.
        experts: E, number of experts.
        hidden: H, width of the model.
        top_k: K, experts per token.
        jitter: in training, each input is scaled by a random factor in 1 +- jitter (Switch Transformer).

    Attributes:
        own_share: s of the effective gates mean(W) + s (W[cluster] - mean(W)). 1 is the paper's gate. Below 1 all
            clusters together train the mean, and a cluster's deviation from it learns more slowly. So a cluster
            without information of its own keeps the common gate.
    """

    def __init__(self, clusters: int, experts: int, hidden: int, top_k: int, jitter: float = 0.0):
        super().__init__()
        self.top_k, self.jitter, self.own_share = top_k, jitter, 1.0
        # All gates start equal. Different random gates would route a word differently in each cluster without reason.
        alike_1EH = nn.init.normal_(torch.empty(1, experts, hidden), std=START_STD)
        self.weight_CEH = nn.Parameter(alike_1EH.repeat(clusters, 1, 1))

    def effective_CEH(self) -> Tensor:
        """Return the gates that route, [C, E, H]."""
        if self.own_share == 1:
            return self.weight_CEH
        return torch.lerp(self.weight_CEH.mean(0, keepdim=True), self.weight_CEH, self.own_share)

    @torch.no_grad()
    def share(self, own_share: float) -> None:
        """Train with a common part from now on; the effective gates stay what they are."""
        effective_CEH = self.effective_CEH()
        mean_1EH = effective_CEH.mean(0, keepdim=True)
        self.weight_CEH.copy_(mean_1EH + (effective_CEH - mean_1EH) / own_share)
        self.own_share = own_share

    @torch.no_grad()
    def merge(self) -> None:
        """Store the effective gates as the weights, so that a saved gate is the paper's."""
        self.weight_CEH.copy_(self.effective_CEH())
        self.own_share = 1.0

    def forward(self, x_BSH: Tensor, cluster_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Route every token with the gate of its sequence's cluster.

        The gate is computed in float32 whatever the model's precision: rounding a logit can change the selection.

        Args:
            x_BSH: hidden states.
            cluster_B: cluster of each sequence.

        Returns:
            Router logits [B, S, E] in float32, selected experts [B, S, K], and their weights [B, S, K], which sum to 1.
        """
        with torch.autocast(x_BSH.device.type, enabled=False):
            x_BSH = x_BSH.float()
            if self.training and self.jitter > 0:
                x_BSH = x_BSH * torch.empty_like(x_BSH).uniform_(1 - self.jitter, 1 + self.jitter)
            gate_BEH = self.effective_CEH()[cluster_B].float()
            logits_BSE = x_BSH @ gate_BEH.transpose(1, 2)
            top_BSK, selected_BSK = logits_BSE.topk(self.top_k, dim=-1)
            # Softmax over the selected logits equals softmax over all, renormalised over the selected.
            return logits_BSE, selected_BSK, top_BSK.softmax(-1)


def cluster_gates(model: nn.Module) -> Iterator[ClusterGate]:
    """Yield the gates of all blocks of a model."""
    return (module for module in model.modules() if isinstance(module, ClusterGate))
