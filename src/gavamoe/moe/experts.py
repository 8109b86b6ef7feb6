"""Fine-grained experts: 3-D weights behind the transformers experts interface, the kernel chosen by shape.

Keep this file apart from any `PreTrainedModel`: transformers decides whether a model's experts can be switched by
looking for the decorator's name in the file of the model's class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.integrations.moe import (
    ALL_EXPERTS_FUNCTIONS,
    grouped_mm_experts_forward,
    use_experts_implementation,
)

# From so many (token, expert) rows on, a loop of plain matrix products wins over grouped_mm on the CPU: it is
# vectorised better and runs in bf16 under autocast (benchmarks/explainer.py).
LOOP_FROM_ROWS = 64


@dataclass
class ExpertsConfig:
    """What the experts interface reads; `by_shape`, `grouped_mm`, `batched_mm` or `eager`."""

    _experts_implementation: str = "by_shape"


@use_experts_implementation
class FineGrainedExperts(nn.Module):
    """E experts, each down(act(gate(x)) * up(x)) of width W."""

    def __init__(self, config: ExpertsConfig, experts: int, hidden: int, width: int, activation: str):
        super().__init__()
        self.num_experts, self.hidden_dim, self.intermediate_dim = experts, hidden, width
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, hidden))  # gate rows, then up rows
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, width))
        self.act_fn = ACT2FN[activation]
        # Unit gain at any width; the usual 0.02 suits a width of 2,500 and makes a narrow model start asleep.
        nn.init.normal_(self.gate_up_proj, std=hidden**-0.5)
        nn.init.normal_(self.down_proj, std=hidden**-0.5)

    def forward(self, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
        """sum_k weight_k Expert_{selected_k}(x), [T, H]."""
        return loop_experts_forward(self, x_TH, selected_TK, weight_TK)


def loop_experts_forward(experts: Any, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """Rows sorted by expert, a plain product per expert; the reference that the other kernels are held to."""
    tokens, top_k = selected_TK.shape
    order = selected_TK.flatten().argsort(stable=True)
    counts = torch.bincount(selected_TK.flatten(), minlength=experts.num_experts).tolist()
    rows = x_TH[order // top_k].split(counts)
    linear, apply_gate = nn.functional.linear, experts._apply_gate
    # unbind, not [expert]: its gradient is stacked once instead of one zero-filled tensor per expert.
    weights = zip(rows, experts.gate_up_proj.unbind(0), experts.down_proj.unbind(0), strict=True)
    outputs = [linear(apply_gate(linear(row, gate_up)), down) for row, gate_up, down in weights]
    restore = torch.empty_like(order)
    restore[order] = torch.arange(len(order), device=order.device)
    by_token_TKH = torch.cat(outputs)[restore].view(tokens, top_k, -1)
    return (by_token_TKH * weight_TK.unsqueeze(-1)).sum(1).to(x_TH.dtype)


def by_shape(experts: FineGrainedExperts, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """The faster kernel for this many rows on this device; all give the same result to rounding."""
    many = x_TH.device.type == "cpu" and selected_TK.numel() >= LOOP_FROM_ROWS
    if many or not _aligned(experts):
        return loop_experts_forward(experts, x_TH, selected_TK, weight_TK)
    return grouped_mm_experts_forward(experts, x_TH, selected_TK, weight_TK)


def _aligned(experts: FineGrainedExperts) -> bool:
    """grouped_mm takes only matrices whose rows are a multiple of 16 bytes."""
    size = experts.down_proj.element_size()
    return experts.hidden_dim * size % 16 == 0 and experts.intermediate_dim * size % 16 == 0


ALL_EXPERTS_FUNCTIONS.register("by_shape", by_shape)
