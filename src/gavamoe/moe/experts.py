"""Fine-grained experts: 3-D weights behind the transformers experts interface, the kernel chosen by device.

Keep this file apart from any `PreTrainedModel`: transformers decides whether a model's experts can be switched by
looking for the decorator's name in the file of the model's class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.activations import ACT2FN
from transformers.integrations.moe import (
    ALL_EXPERTS_FUNCTIONS,
    grouped_mm_experts_forward,
    use_experts_implementation,
)


@dataclass
class ExpertsConfig:
    """What the experts interface reads; `by_device`, `grouped_mm`, `batched_mm` or `eager`."""

    _experts_implementation: str = "by_device"


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
    """A plain product per expert that a token selected; summed in the order of the experts, in float32 or better."""
    tokens, top_k = selected_TK.shape
    if tokens == 1:
        return _one_token(experts, x_TH, selected_TK[0], weight_TK[0])
    selected_R = selected_TK.flatten()
    order_R = selected_R.argsort(stable=True)
    counts = torch.bincount(selected_R, minlength=experts.num_experts).tolist()
    token_of, weight_of = (order_R // top_k).split(counts), weight_TK.flatten()[order_R].unsqueeze(1).split(counts)
    # unbind, not [expert]: its gradient is stacked once instead of one zero-filled tensor per expert.
    gate_up, down = experts.gate_up_proj.unbind(0), experts.down_proj.unbind(0)
    y_TH = torch.zeros_like(x_TH, dtype=torch.promote_types(x_TH.dtype, torch.float32))
    for expert, token_N in enumerate(token_of):
        if counts[expert]:
            # The weight goes where the rows are narrow.
            inner_NW = experts._apply_gate(linear(x_TH[token_N], gate_up[expert])) * weight_of[expert]
            y_TH.index_add_(0, token_N, linear(inner_NW.to(x_TH.dtype), down[expert]).to(y_TH.dtype))
    return y_TH.to(x_TH.dtype)


def _one_token(experts: Any, x_1H: Tensor, selected_K: Tensor, weight_K: Tensor) -> Tensor:
    """The same for one token, as in decoding one text: nothing to sort, and each call less counts."""
    selected_K, order_K = selected_K.sort()
    selected = selected_K.tolist()
    gate_up_KW = torch.cat([linear(x_1H, experts.gate_up_proj[expert]) for expert in selected])
    inner_KW = (experts._apply_gate(gate_up_KW) * weight_K[order_K].unsqueeze(1)).to(x_1H.dtype)
    outputs = [linear(row, experts.down_proj[expert]) for row, expert in zip(inner_KW.split(1), selected, strict=True)]
    return torch.cat(outputs).sum(0, keepdim=True, dtype=torch.promote_types(x_1H.dtype, torch.float32)).to(x_1H.dtype)


def by_device(experts: FineGrainedExperts, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """On a CPU the loop, elsewhere grouped_mm; both give the same to rounding. Why: docs/decisions.md."""
    if x_TH.device.type == "cpu":
        return loop_experts_forward(experts, x_TH, selected_TK, weight_TK)
    return grouped_experts_forward(experts, x_TH, selected_TK, weight_TK)


def grouped_experts_forward(experts: Any, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """transformers' grouped_mm, in autocast's precision, which does not reach it; the loop where rows do not fit."""
    device = x_TH.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else experts.down_proj.dtype
    if not _aligned(experts, dtype):
        return loop_experts_forward(experts, x_TH, selected_TK, weight_TK)
    y_TH = grouped_mm_experts_forward(_InPrecision(experts, dtype), x_TH.to(dtype), selected_TK, weight_TK)
    return y_TH.to(x_TH.dtype)


class _InPrecision:
    """Experts as a kernel sees them, their weights in another precision."""

    def __init__(self, experts: Any, dtype: torch.dtype):
        self.experts = experts
        self.gate_up_proj, self.down_proj = experts.gate_up_proj.to(dtype), experts.down_proj.to(dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.experts, name)


def _aligned(experts: Any, dtype: torch.dtype) -> bool:
    """grouped_mm takes only matrices whose rows are a multiple of 16 bytes."""
    return all(width * dtype.itemsize % 16 == 0 for width in (experts.hidden_dim, experts.intermediate_dim))


ALL_EXPERTS_FUNCTIONS.register("by_device", by_device)
