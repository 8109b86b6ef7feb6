"""Fine-grained experts: 3-D weights behind the experts interface of transformers, with the kernel chosen by device.

Keep this file apart from any `PreTrainedModel`. transformers decides whether a model's experts can be switched by
looking for the decorator's name in the file of the model's class.

Shape suffixes: T tokens, H hidden, E experts, K selected experts, W expert width, M = E * W neurons of all experts,
R = T * K selections, N tokens of one expert.
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

# All experts are computed for every token if they have no more neurons together: few large products are then faster
# than many small ones, although some of their results have weight 0.
FEW_NEURONS = 256


@dataclass
class ExpertsConfig:
    """The config object that the experts interface reads: `by_device`, `grouped_mm`, `batched_mm` or `eager`."""

    _experts_implementation: str = "by_device"


@use_experts_implementation
class FineGrainedExperts(nn.Module):
    """E experts, each down(act(gate(x)) * up(x)).

    Args:
        config: names the kernel.
        experts: E, number of experts.
        hidden: H, width of the model.
        width: W, neurons of an expert.
        activation: name of the activation function, as in transformers.
    """

    def __init__(self, config: ExpertsConfig, experts: int, hidden: int, width: int, activation: str):
        super().__init__()
        self.num_experts, self.hidden_dim, self.intermediate_dim = experts, hidden, width
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * width, hidden))  # gate rows, then up rows
        self.down_proj = nn.Parameter(torch.empty(experts, hidden, width))
        self.act_fn = ACT2FN[activation]
        # Unit gain at any width. The usual 0.02 suits a width of 2,500; a narrow model would start with outputs near 0.
        nn.init.normal_(self.gate_up_proj, std=hidden**-0.5)
        nn.init.normal_(self.down_proj, std=hidden**-0.5)

    def forward(self, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
        """Return sum_k weight_k Expert_{selected_k}(x), [T, H]."""
        return loop_experts_forward(self, x_TH, selected_TK, weight_TK)


def loop_experts_forward(experts: Any, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """Compute one product per selected expert; the sum runs in the order of the experts, in float32 or better."""
    tokens, top_k = selected_TK.shape
    if tokens == 1:
        return _one_token(experts, x_TH, selected_TK[0], weight_TK[0])
    selected_R = selected_TK.flatten()
    order_R = selected_R.argsort(stable=True)
    counts = torch.bincount(selected_R, minlength=experts.num_experts).tolist()
    token_of = torch.split(order_R // top_k, counts)
    weight_of = torch.split(weight_TK.flatten()[order_R].unsqueeze(1), counts)
    # unbind, not [expert]: the gradient of unbind is stacked once, that of indexing is a full tensor per expert.
    gate_up, down = experts.gate_up_proj.unbind(0), experts.down_proj.unbind(0)
    y_TH = torch.zeros_like(x_TH, dtype=torch.promote_types(x_TH.dtype, torch.float32))
    for expert, token_N in enumerate(token_of):
        if counts[expert]:
            # Weighting the inner rows is cheaper than weighting the output rows.
            inner_NW = experts._apply_gate(linear(x_TH[token_N], gate_up[expert])) * weight_of[expert]
            y_TH.index_add_(0, token_N, linear(inner_NW.to(x_TH.dtype), down[expert]).to(y_TH.dtype))
    return y_TH.to(x_TH.dtype)


def _one_token(experts: Any, x_1H: Tensor, selected_K: Tensor, weight_K: Tensor) -> Tensor:
    """Compute the same for one token, as in decoding one text: there is nothing to group, and fewer calls."""
    selected_K, order_K = selected_K.sort()
    selected = selected_K.tolist()
    gate_up_KW = torch.cat([linear(x_1H, experts.gate_up_proj[expert]) for expert in selected])
    inner_KW = (experts._apply_gate(gate_up_KW) * weight_K[order_K].unsqueeze(1)).to(x_1H.dtype)
    outputs = [linear(row, experts.down_proj[expert]) for row, expert in zip(inner_KW.split(1), selected, strict=True)]
    return torch.cat(outputs).sum(0, keepdim=True, dtype=torch.promote_types(x_1H.dtype, torch.float32)).to(x_1H.dtype)


def all_experts_forward(experts: Any, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """Compute every expert for every token, in two products; the weight of an expert that is not selected is 0."""
    dtype = _dtype_of_products(experts, x_TH)
    # Added, not set: where a diagnosis merges two experts, a token may select the same expert twice.
    weight_TE = weight_TK.new_zeros(len(x_TH), experts.num_experts).scatter_add(1, selected_TK, weight_TK)
    gate_up_MH, down_HM = experts.gate_up_proj.flatten(0, 1), experts.down_proj.transpose(0, 1).flatten(1)
    gate_up_TEW = linear(x_TH.to(dtype), gate_up_MH.to(dtype)).view(len(x_TH), *experts.gate_up_proj.shape[:2])
    inner_TEW = experts._apply_gate(gate_up_TEW) * weight_TE.unsqueeze(2)
    return linear(inner_TEW.flatten(1).to(dtype), down_HM.to(dtype)).to(x_TH.dtype)


def _dtype_of_products(experts: Any, x_TH: Tensor) -> torch.dtype:
    """Return the precision that products take: that of autocast, else that of the weights."""
    device = x_TH.device.type
    dtype: torch.dtype = experts.down_proj.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype


def by_device(experts: FineGrainedExperts, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """Choose the kernel by size and device; all agree to rounding. For the reasons see docs/decisions.md."""
    if experts.num_experts * experts.intermediate_dim <= FEW_NEURONS:
        return all_experts_forward(experts, x_TH, selected_TK, weight_TK)
    if x_TH.device.type == "cpu":
        return loop_experts_forward(experts, x_TH, selected_TK, weight_TK)
    return grouped_experts_forward(experts, x_TH, selected_TK, weight_TK)


def grouped_experts_forward(experts: Any, x_TH: Tensor, selected_TK: Tensor, weight_TK: Tensor) -> Tensor:
    """Call grouped_mm of transformers in the precision of autocast, which does not reach that kernel by itself.

    The loop serves weights whose rows the kernel does not take.
    """
    dtype = _dtype_of_products(experts, x_TH)
    if not _aligned(experts, dtype):
        return loop_experts_forward(experts, x_TH, selected_TK, weight_TK)
    y_TH: Tensor = grouped_mm_experts_forward(_InPrecision(experts, dtype), x_TH.to(dtype), selected_TK, weight_TK)
    return y_TH.to(x_TH.dtype)


class _InPrecision:
    """The experts with their weights in another precision, for a kernel."""

    def __init__(self, experts: Any, dtype: torch.dtype):
        self.experts = experts
        self.gate_up_proj, self.down_proj = experts.gate_up_proj.to(dtype), experts.down_proj.to(dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.experts, name)


def _aligned(experts: Any, dtype: torch.dtype) -> bool:
    """Return whether grouped_mm takes the weights: their rows must be a multiple of 16 bytes."""
    return all(width * dtype.itemsize % 16 == 0 for width in (experts.hidden_dim, experts.intermediate_dim))


ALL_EXPERTS_FUNCTIONS.register("by_device", by_device)
