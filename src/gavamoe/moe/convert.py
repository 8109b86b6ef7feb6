"""Convert any causal LM with a gated MLP into a multi-gate mixture of experts, in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from gavamoe.errors import ConfigError
from gavamoe.moe.block import MoEShape, MultiGateMoE, RoutingState
from gavamoe.moe.initialise import PROJECTIONS, Initialisation, Partition, initialise


def convert(
    model: nn.Module,
    shape: MoEShape,
    routing: RoutingState,
    initialisation: Initialisation = "partition",
    partition: Partition = "random",
    layers: Sequence[int] | None = None,
) -> None:
    """Replace gated MLPs of a model with `MultiGateMoE` blocks on the same device and dtype.

    Args:
        model: a causal LM, changed in place.
        shape: sizes of every block.
        routing: the state that all blocks share.
        initialisation: what the experts start from (`gavamoe.moe.initialise`).
        partition: how `partition` divides the neurons.
        layers: numbers of the layers to convert, from 0; None for all, and an empty list for none.

    Raises:
        ConfigError: the model has no gated MLP, a layer does not exist, or sizes do not fit the MLP.
    """
    mlps = list(gated_mlps(model))
    if not mlps:
        raise ConfigError(
            f"{type(model).__name__} has no gated MLP (gate_proj, up_proj, down_proj) to convert; "
            "choose a base model like Llama, Qwen, Mistral, SmolLM or Gemma"
        )
    chosen = range(len(mlps)) if layers is None else layers
    if not all(0 <= layer < len(mlps) for layer in chosen):
        raise ConfigError(f"layers {list(chosen)}: choose among 0 to {len(mlps) - 1}, the model's layers with an MLP")
    activation = _activation(model)
    for layer in chosen:
        parent, name, mlp = mlps[layer]
        kept = mlp if initialisation == "adapter" else None
        with torch.device(mlp.gate_proj.weight.device):
            block = MultiGateMoE(shape, mlp.gate_proj.in_features, activation, layer, routing, kept)
        initialise(block.to(_dtype(model)), mlp, initialisation, partition)
        setattr(parent, name, block)


def gated_mlps(model: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield (decoder layer, attribute name, MLP) of every MLP with gate_proj, up_proj and down_proj, in layer order.

    Only direct children of the text decoder's layers count, so existing experts and image encoders are left out.
    """
    for layer in decoder_layers(model):
        for name, child in list(layer.named_children()):
            if all(isinstance(getattr(child, projection, None), nn.Linear) for projection in PROJECTIONS):
                yield layer, name, child


def text_decoder(model: Any) -> nn.Module:
    """Return the stack of layers that processes text; in a multimodal model it is one part among others."""
    decoder: nn.Module = model.get_decoder()
    return decoder


def decoder_layers(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of the text decoder, in order."""
    for part in text_decoder(model).children():
        if isinstance(part, nn.ModuleList):
            yield from part


def _activation(model: Any) -> str:
    text_config = model.config.get_text_config()
    activation: str = getattr(text_config, "hidden_act", None) or text_config.hidden_activation
    return activation


def _dtype(model: Any) -> torch.dtype:
    """Return the dtype that the model computes in: that of its embeddings, as MLP weights may be quantised."""
    dtype: torch.dtype = model.get_input_embeddings().weight.dtype
    return dtype
