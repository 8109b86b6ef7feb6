"""Turn any causal LM with a gated MLP into a multi-gate mixture of experts, in place.

Initialisations of the experts:
  partition  the dense FFN's neurons divided among the experts: all selected with unit weight, they are the dense FFN
  replicate  every expert a copy of the dense FFN (sparse upcycling)
  random     as the model initialises itself; for training from scratch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from gavamoe.errors import ConfigError
from gavamoe.moe.block import MoEShape, MultiGateMoE
from gavamoe.moe.routing import RoutingState

Initialisation = Literal["partition", "replicate", "random"]
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def convert(
    model: nn.Module, shape: MoEShape, routing: RoutingState, initialisation: Initialisation = "partition"
) -> None:
    """Replace every gated MLP of `model` with a `MultiGateMoE` on the same device and dtype.

    `partition` needs experts * width = the FFN's width, `replicate` width = the FFN's width; `ConfigError` names what
    does not fit, or that the model has no gated MLP.
    """
    mlps = list(gated_mlps(model))
    if not mlps:
        raise ConfigError(
            f"{type(model).__name__} has no gated MLP (gate_proj, up_proj, down_proj) to convert; "
            "choose a base model like Llama, Qwen, Mistral, SmolLM or Gemma"
        )
    activation = _activation(model)
    for layer, (parent, name, mlp) in enumerate(mlps):
        dense = mlp.gate_proj.weight
        block = MultiGateMoE(shape, dense.shape[1], activation, layer, routing).to(dense.device, dense.dtype)
        if initialisation != "random":
            _initialise(block, mlp, initialisation)
        setattr(parent, name, block)


def gated_mlps(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """(parent, attribute name, MLP) of every MLP made of gate_proj, up_proj and down_proj, in layer order."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if all(isinstance(getattr(child, projection, None), nn.Linear) for projection in PROJECTIONS):
                yield parent, name, child


def _activation(model: Any) -> str:
    text_config = model.config.get_text_config()
    return getattr(text_config, "hidden_act", None) or text_config.hidden_activation


@torch.no_grad()
def _initialise(block: MultiGateMoE, mlp: Any, initialisation: Initialisation) -> None:
    gate_WH, up_WH, down_HW = (getattr(mlp, projection).weight for projection in PROJECTIONS)
    if any(getattr(mlp, projection).bias is not None for projection in PROJECTIONS):
        raise ConfigError("the base model's MLP has biases, which experts here do not carry; choose another base model")
    experts, width, dense_width = block.shape.experts, block.shape.width, len(gate_WH)
    if initialisation == "partition":
        if experts * width != dense_width:
            raise ConfigError(
                f"partition divides the FFN's {dense_width} neurons among {experts} experts of {width}, which is "
                f"{experts * width}; choose experts x width = {dense_width}"
            )
        gate_EWH, up_EWH = gate_WH.view(experts, width, -1), up_WH.view(experts, width, -1)
        down_EHW = down_HW.view(-1, experts, width).transpose(0, 1)
    else:
        if width != dense_width:
            raise ConfigError(f"replicate copies the FFN's {dense_width} neurons into each expert, not {width}")
        gate_EWH, up_EWH, down_EHW = (w.expand(experts, -1, -1) for w in (gate_WH, up_WH, down_HW))
    block.experts.gate_up_proj.copy_(torch.cat([gate_EWH, up_EWH], dim=1))
    block.experts.down_proj.copy_(down_EHW)
