"""Initialise the experts of a block from the pretrained dense FFN that the block replaces.

adapter    the dense FFN stays, frozen; low-rank experts add 0 to it at first, so the model equals the base model
partition  the FFN's neurons are divided among the experts; all experts with unit weight equal the FFN
replicate  every expert is a copy of the FFN (sparse upcycling, Komatsuzaki et al. 2023); refined experts are pieces of
           copies, and the pieces of one copy are selected together at first (virtual groups, He et al. 2024), so the
           model equals the base model
random     the block keeps its random weights; for training from scratch

Shape suffixes: N neurons of the FFN, H hidden, C clusters, E experts, P parts (experts and shared experts), W width.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from gavamoe.errors import ConfigError
from gavamoe.moe.block import MultiGateMoE
from gavamoe.moe.gate import START_STD

Initialisation = Literal["adapter", "partition", "replicate", "random"]
Partition = Literal["random", "clustered"]
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
# Initial scale of the router logits of a partition: weights are then 1 to within a hundredth. With unequal weights the
# experts would not sum to the FFN.
FAINT = 1e-2


def routing_scale(initialisation: Initialisation, top_k: int, granularity: int) -> float:
    """Return what the weights of the selected experts sum to.

    Pieces of one FFN are summed with weights around 1, as in the FFN; whole FFNs are averaged.

    Args:
        initialisation: what the experts start from.
        top_k: experts per token, after refinement.
        granularity: r, pieces per expert.
    """
    return {"partition": float(top_k), "replicate": float(granularity)}.get(initialisation, 1.0)


@torch.no_grad()
def initialise(block: MultiGateMoE, mlp: nn.Module, initialisation: Initialisation, partition: Partition) -> None:
    """Set the experts, shared experts and gates of a block from the dense MLP that it replaces.

    Args:
        block: changed in place.
        mlp: the MLP with gate_proj, up_proj and down_proj.
        initialisation: what the experts start from.
        partition: how `partition` divides the neurons.

    Raises:
        ConfigError: the block's sizes do not fit the MLP, or the MLP has biases that experts cannot carry.
    """
    if initialisation == "adapter":
        nn.init.zeros_(block.experts.down_proj)
        _silence_shared(block)
    elif initialisation == "partition":
        _partition(block, mlp, partition)
    elif initialisation == "replicate":
        _replicate(block, mlp)


def _partition(block: MultiGateMoE, mlp: nn.Module, how: Partition) -> None:
    """Divide the neurons among experts and shared experts; the sum of all of them is the FFN.

    The sum is the FFN only if all experts have equal weight, so the router logits start small at any hidden size.
    """
    gate_up_N2H, down_NH = _neurons(mlp)
    shape, neurons = block.shape, len(down_NH)
    parts = shape.experts + shape.shared_experts
    if parts * shape.width != neurons:
        raise ConfigError(
            f"partition divides the FFN's {neurons} neurons among {parts} experts of {shape.width}, which is "
            f"{parts * shape.width}; choose experts x width = {neurons}"
        )
    part_PW = _random_parts(neurons, parts, block.layer) if how == "random" else _clustered_parts(gate_up_N2H, parts)
    part_PW = part_PW.to(down_NH.device)
    _fill(block, gate_up_N2H[part_PW[: shape.experts]], down_NH[part_PW[: shape.experts]])
    if block.shared is not None:
        own = part_PW[shape.experts :].flatten()
        block.shared.gate_proj.weight.copy_(gate_up_N2H[own, 0])
        block.shared.up_proj.weight.copy_(gate_up_N2H[own, 1])
        block.shared.down_proj.weight.copy_(down_NH[own].T)
    block.gate.weight_CEH.mul_(FAINT * gate_up_N2H.shape[-1] ** -0.5 / START_STD)


def _replicate(block: MultiGateMoE, mlp: nn.Module) -> None:
    """Copy the FFN into every expert, or its pieces into refined experts; equal gates select pieces together."""
    gate_up_N2H, down_NH = _neurons(mlp)
    shape, neurons = block.shape, len(down_NH)
    pieces = neurons // shape.width
    if pieces * shape.width != neurons or shape.experts % pieces or shape.top_k % pieces:
        raise ConfigError(
            f"replicate copies the FFN's {neurons} neurons into experts, each whole or in equal pieces, and selects "
            f"whole copies; {shape.experts} experts of {shape.width} with {shape.top_k} a token do not allow that"
        )
    part_PW = torch.arange(neurons, device=down_NH.device).view(pieces, shape.width)
    part_EW = part_PW.repeat(shape.experts // pieces, 1)  # the pieces of one copy are neighbours
    _fill(block, gate_up_N2H[part_EW], down_NH[part_EW])
    gate_CEH = block.gate.weight_CEH
    gate_CEH.copy_(gate_CEH[:, ::pieces].repeat_interleave(pieces, dim=1))  # equal logits: selected together
    _silence_shared(block)


def _fill(block: MultiGateMoE, gate_up_EW2H: Tensor, down_EWH: Tensor) -> None:
    """Set the experts' weights from the rows of their neurons."""
    block.experts.gate_up_proj.copy_(gate_up_EW2H.transpose(1, 2).flatten(1, 2))  # gate rows, then up rows
    block.experts.down_proj.copy_(down_EWH.transpose(1, 2))


def _silence_shared(block: MultiGateMoE) -> None:
    """Make the shared experts return 0."""
    if block.shared is not None:
        nn.init.zeros_(block.shared.down_proj.weight)


def _neurons(mlp: Any) -> tuple[Tensor, Tensor]:
    """Return one row per neuron of the FFN: its input weights, [N, 2 (gate, up), H], and output weights, [N, H]."""
    if any(getattr(mlp, projection).bias is not None for projection in PROJECTIONS):
        raise ConfigError(
            "the base model's MLP has biases, which experts do not support; choose explainer.initialisation="
            "adapter, which keeps the MLP, or another base model"
        )
    gate_NH, up_NH, down_HN = (getattr(mlp, projection).weight for projection in PROJECTIONS)
    return torch.stack([gate_NH, up_NH], dim=1), down_HN.T


def _random_parts(neurons: int, parts: int, layer: int) -> Tensor:
    """Return neuron numbers [P, W], the same for a layer every time, so that a saved adapter fits its experts."""
    order = torch.randperm(neurons, generator=torch.Generator().manual_seed(layer), device="cpu")
    return order.view(parts, -1)


def _clustered_parts(gate_up_N2H: Tensor, parts: int) -> Tensor:
    """Return neuron numbers [P, W] that group neurons with similar input weights (MoEfication, Zhang et al. 2022).

    k-means clusters the directions of the input weights. Then neurons join centres, the closest pairs first, until
    each centre has its share.
    """
    reads = nn.functional.normalize(gate_up_N2H.flatten(1).float(), dim=1).cpu().numpy()
    distance_NP = KMeans(parts, n_init=1, max_iter=30, random_state=0).fit(reads).transform(reads)
    room = np.full(parts, len(reads) // parts)
    part_of = np.full(len(reads), -1)
    for pair in np.argsort(distance_NP, axis=None, kind="stable"):
        neuron, part = divmod(int(pair), parts)
        if part_of[neuron] < 0 and room[part]:
            part_of[neuron] = part
            room[part] -= 1
    return torch.from_numpy(np.argsort(part_of, kind="stable")).view(parts, -1)
