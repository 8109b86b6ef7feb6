"""Time the multi-gate block against a dense gated FFN with the same active parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timing import DEVICE, DTYPE, seconds
from torch import Tensor, nn

from gavamoe.moe.block import MoEShape, MultiGateMoE, RoutingState, SharedExpert
from gavamoe.moe.experts import ExpertsConfig

CLUSTERS = 5
TRAINING = (32, 64)  # sequences, tokens of each
DECODING = ((1, 1), (32, 1))
# experts, top-k and width before refinement, hidden size; on a GPU the paper's experts in Llama-3.1-8B.
CPU_SHAPE = {"experts": 8, "top_k": 2, "width": 512}, 512
GPU_SHAPE = {"experts": 12, "top_k": 3, "width": 1280}, 4096


def measure(rounds: int, on_gpu: bool) -> list[dict[str, Any]]:
    """Return one row per granularity and job: milliseconds per variant, and the block's ratio to the reference."""
    coarse, hidden = GPU_SHAPE if on_gpu else CPU_SHAPE
    rows = []
    for granularity in (1, 2, 4):
        shape = MoEShape.refined(CLUSTERS, granularity=granularity, **coarse)
        with torch.device(DEVICE):
            routing = RoutingState()
            block = MultiGateMoE(shape, hidden, "silu", 0, routing).to(DTYPE)
            ffn = SharedExpert(hidden, shape.top_k * shape.width, "silu").to(DTYPE)
        about = {"hidden": hidden, "experts": shape.experts, "top_k": shape.top_k, "width": shape.width}
        for (sequences, tokens), job in [
            (TRAINING, "forward"),
            (TRAINING, "train"),
            *((d, "decode") for d in DECODING),
        ]:
            x_BSH = torch.randn(sequences, tokens, hidden, device=DEVICE, dtype=DTYPE)
            routing.begin(torch.arange(sequences, device=DEVICE) % CLUSTERS)
            ways = {
                "ffn": _job(ffn, x_BSH, job),
                "block": _with(block, "by_device", _job(block, x_BSH, job)),
                "grouped_mm": _with(block, "grouped_mm", _job(block, x_BSH, job)),
            }
            if job == "decode":
                ways["read"] = _reading(block, x_BSH)
            taken = seconds(ways, rounds if job != "decode" else 10 * rounds)
            floor = max(taken["ffn"], taken.get("read", 0.0))
            milliseconds = {way: 1000 * spent for way, spent in taken.items()}
            row = {**about, "job": job, "sequences": sequences, "tokens": tokens, **milliseconds}
            ratios = {"ratio": taken["block"] / floor, "ratio of grouped_mm": taken["grouped_mm"] / floor}
            rows.append({**row, **ratios})
    return rows


def _with(block: MultiGateMoE, kernel: str, job: Callable[[], object]) -> Callable[[], object]:
    """Return the job with the experts switched to a kernel by name."""

    def run() -> None:
        config = block.experts.config
        assert isinstance(config, ExpertsConfig)
        config._experts_implementation = kernel
        job()

    return run


def _job(module: nn.Module, x_BSH: Tensor, job: str) -> Callable[[], object]:
    """Return a forward pass without gradients, or a forward and backward pass to weights and input."""

    def forward() -> Tensor:
        with torch.inference_mode():
            return module(x_BSH)

    def train() -> None:
        x = x_BSH.detach().requires_grad_()
        module(x).square().mean().backward()
        module.zero_grad(set_to_none=True)

    return train if job == "train" else forward


def _reading(block: MultiGateMoE, x_BSH: Tensor) -> Callable[[], object]:
    """Return a job that reads once as many bytes as the weights of the experts that these tokens select."""
    with torch.inference_mode():
        block(x_BSH)
        touched = block.routing.selected[0].unique()
        weights = torch.cat([parameter[touched].flatten() for parameter in block.experts.parameters()])
    return weights.sum  # one call, whose time is that of reading
