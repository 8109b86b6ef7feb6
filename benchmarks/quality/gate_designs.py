"""Designs of gates that the package does not have, for `gates.py`: each replaces a part of it while stage 2 trains.

balance   the load-balancing loss of each cluster, weighted by its tokens, instead of one for all clusters together
first     experts of each cluster first, gates afterwards, as in MoE-MLoRA (arXiv 2506.07563): in the first half of the
          steps a cluster's tokens take fixed experts; then the gates learn, and each starts with a preference for the
          experts of its cluster
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import Trainer

from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.moe.gate import ClusterGate
from gavamoe.moe.losses import Total, balance_loss, z_loss

PREFERENCE = 2.0  # what a gate adds at first to the logits of its cluster's experts, at the mean input


@contextmanager
def balance_per_cluster() -> Iterator[None]:
    """Balance the experts within each cluster."""

    def router_loss(model: GavamoeForCausalLM, mask_BS: Tensor | None, total: Total = lambda x: x) -> Tensor:
        if not model.routing.logits:
            return torch.zeros((), device=model.device)
        logits_LBSE = torch.stack(list(model.routing.logits.values()))
        selected_LBSK = torch.stack(list(model.routing.selected.values()))
        mask = torch.ones_like(logits_LBSE[0, ..., 0]) if mask_BS is None else mask_BS[:, -logits_LBSE.shape[2] :]
        assert model.routing.cluster_B is not None
        balance = torch.zeros((), device=model.device)
        for cluster in model.routing.cluster_B.unique():
            of_cluster = mask * (model.routing.cluster_B == cluster).unsqueeze(1)
            share = of_cluster.sum() / mask.sum()
            balance = balance + share * balance_loss(logits_LBSE, selected_LBSK, of_cluster, total).mean()
        z = z_loss(logits_LBSE, mask, total).mean()
        return model.config.balance_weight * balance + model.config.z_weight * z

    with patch.object(GavamoeForCausalLM, "router_loss", router_loss):
        yield


class _ExpertsFirst:
    """Replaces the forward of every gate; counts the steps of each."""

    def __init__(self) -> None:
        self.learned = ClusterGate.forward
        self.fixed_steps = 0
        self.step: dict[int, int] = {}
        self.mean: dict[int, Tensor] = {}

    def create_optimizer_and_scheduler(self, trainer: Trainer, num_training_steps: int) -> Any:
        self.fixed_steps = num_training_steps // 2
        return self.create(trainer, num_training_steps)

    create = staticmethod(Trainer.create_optimizer_and_scheduler)

    def experts_of(self, gate: ClusterGate, cluster_B: Tensor) -> Tensor:
        """Return the experts of each sequence's cluster, [B, K]."""
        next_K = torch.arange(gate.top_k, device=cluster_B.device)
        return (cluster_B.unsqueeze(1) + next_K) % gate.weight_CEH.shape[1]

    def forward(self, gate: ClusterGate, x_BSH: Tensor, cluster_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key, step = id(gate), self.step.get(id(gate), 0)
        if gate.training:
            self.step[key] = step + 1
            mean_H = x_BSH.detach().float().mean((0, 1))
            self.mean[key] = torch.lerp(self.mean.get(key, mean_H), mean_H, 0.1)
            if step == self.fixed_steps:
                self._prefer_own(gate)
        logits_BSE, selected_BSK, weight_BSK = self.learned(gate, x_BSH, cluster_B)
        if step < self.fixed_steps:
            selected_BSK = self.experts_of(gate, cluster_B).unsqueeze(1).expand_as(selected_BSK).contiguous()
            weight_BSK = torch.full_like(weight_BSK, 1 / gate.top_k)
        return logits_BSE, selected_BSK, weight_BSK

    @torch.no_grad()
    def _prefer_own(self, gate: ClusterGate) -> None:
        mean_H = self.mean[id(gate)]
        clusters_C = torch.arange(len(gate.weight_CEH), device=mean_H.device)
        own_CE = torch.zeros(gate.weight_CEH.shape[:2], device=mean_H.device)
        own_CE.scatter_(1, self.experts_of(gate, clusters_C), PREFERENCE)
        gate.weight_CEH.add_(own_CE.unsqueeze(-1) * mean_H / mean_H.square().sum())


@contextmanager
def experts_first() -> Iterator[None]:
    """Train the experts of each cluster first, then the gates."""
    design = _ExpertsFirst()
    with (
        patch.object(
            Trainer,
            "create_optimizer_and_scheduler",
            lambda trainer, num_training_steps: design.create_optimizer_and_scheduler(trainer, num_training_steps),
        ),
        patch.object(ClusterGate, "forward", lambda gate, x_BSH, cluster_B: design.forward(gate, x_BSH, cluster_B)),
    ):
        yield
