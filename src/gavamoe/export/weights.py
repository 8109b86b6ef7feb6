"""The weights of one cluster under the names of a stock architecture.

    embeddings, attention, norms   as they are; the run's embedding scale is multiplied into the input embeddings
    gate of the cluster            the router
    experts                        the experts, filled up with neurons that add 0 (`ALIGNMENT`); the routing scale is
                                   multiplied into their output weights
    frozen FFN, shared experts     one shared expert: their neurons side by side, since both are sums over neurons;
                                   the weight of the shared experts is multiplied into their output weights

Shape suffixes: E experts, W expert width, H hidden, S neurons that every token passes through, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from gavamoe.explainer.configuration import GavamoeConfig
from gavamoe.explainer.modeling import GavamoeForCausalLM
from gavamoe.export.architectures import SMALLEST_SHARED, StockLayout
from gavamoe.moe.block import MultiGateMoE
from gavamoe.moe.convert import text_decoder


@dataclass(frozen=True)
class AlwaysOn:
    """Neurons that every token passes through: input weights [S, H] of gate and up, output weights [H, S]."""

    gate_SH: Tensor
    up_SH: Tensor
    down_HS: Tensor

    @classmethod
    def of(cls, mlp: Any, like: Tensor) -> AlwaysOn:
        """Return the neurons of a gated FFN; for None, a width of 0 in the dtype of `like`, [., H]."""
        if mlp is None:
            hidden = like.shape[-1]
            return cls(like.new_zeros(0, hidden), like.new_zeros(0, hidden), like.new_zeros(hidden, 0))
        return cls(mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)

    def scaled(self, factor: float) -> AlwaysOn:
        """Return neurons whose output is multiplied."""
        return AlwaysOn(self.gate_SH, self.up_SH, factor * self.down_HS)

    def beside(self, other: AlwaysOn) -> AlwaysOn:
        """Return the neurons of both, side by side: their output is the sum of the outputs."""
        return AlwaysOn(
            torch.cat([self.gate_SH, other.gate_SH]),
            torch.cat([self.up_SH, other.up_SH]),
            torch.cat([self.down_HS, other.down_HS], dim=1),
        )

    def padded(self, width: int) -> AlwaysOn:
        """Return the neurons with further ones that add 0, `width` in all."""
        rows = (0, 0, 0, width - len(self.gate_SH))
        return AlwaysOn(pad(self.gate_SH, rows), pad(self.up_SH, rows), pad(self.down_HS, rows[2:]))


@torch.no_grad()
def cluster_state(model: GavamoeForCausalLM, cluster: int, layout: StockLayout, tied: bool) -> dict[str, Tensor]:
    """Return the state dict of the stock model that computes what `model` computes for one cluster.

    Args:
        model: the run's model, with LoRA factors merged.
        cluster: whose gate routes.
        layout: the stock architecture.
        tied: whether the output embeddings are left out, because they are the input embeddings.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in model.lm.state_dict().items():
        if ".mlp." not in name and name != "lm_head.weight":
            state[name] = tensor.detach()
    state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"] * model.config.embedding_scale
    if not tied:
        state["lm_head.weight"] = model.lm.state_dict()["lm_head.weight"].detach().clone()
    layers: Any = text_decoder(model.lm)
    for number, layer in enumerate(layers.layers):
        for name, tensor in _block_state(layer.mlp, cluster, layout, model.config).items():
            state[f"model.layers.{number}.{name}"] = tensor.detach().contiguous()
    return state


def _block_state(mlp: Any, cluster: int, layout: StockLayout, config: GavamoeConfig) -> dict[str, Tensor]:
    """Return the weights of one layer's FFN by their names inside the layer."""
    if layout.family == "granitemoeshared":
        return _granite_block(mlp, cluster, layout, config)
    if not isinstance(mlp, MultiGateMoE):  # a layer that keeps its FFN, in the Qwen architectures
        return {f"mlp.{name}": tensor for name, tensor in mlp.state_dict().items()}
    state = _routed(mlp, cluster, layout, "mlp.gate", "mlp")
    if layout.family == "qwen2_moe":
        shared = _always_on(mlp).padded(layout.shared_width or SMALLEST_SHARED)
        state |= {
            "mlp.shared_expert.gate_proj.weight": shared.gate_SH,
            "mlp.shared_expert.up_proj.weight": shared.up_SH,
            "mlp.shared_expert.down_proj.weight": 2 * shared.down_HS,
            "mlp.shared_expert_gate.weight": torch.zeros_like(shared.gate_SH[:1]),  # sigmoid(0) = 1/2
        }
    return state


def _granite_block(mlp: Any, cluster: int, layout: StockLayout, config: GavamoeConfig) -> dict[str, Tensor]:
    if isinstance(mlp, MultiGateMoE):
        state = _routed(mlp, cluster, layout, "block_sparse_moe.router", "block_sparse_moe")
        shared = _always_on(mlp)
    else:
        shared = AlwaysOn.of(mlp, mlp.gate_proj.weight)
        state = _silent_experts(config.experts, layout.expert_width, like=mlp.gate_proj.weight)
    if not layout.shared_width:
        return state
    shared = shared.padded(layout.shared_width)
    return state | {
        "shared_mlp.input_linear.weight": torch.cat([shared.gate_SH, shared.up_SH]),
        "shared_mlp.output_linear.weight": shared.down_HS,
    }


def _silent_experts(experts: int, width: int, like: Tensor) -> dict[str, Tensor]:
    """Return router and experts that add 0, for a layer without experts: Granite has experts in every layer."""
    hidden = like.shape[-1]
    return {
        "block_sparse_moe.router.weight": like.new_zeros(experts, hidden),
        "block_sparse_moe.experts.gate_up_proj": like.new_zeros(experts, 2 * width, hidden),
        "block_sparse_moe.experts.down_proj": like.new_zeros(experts, hidden, width),
    }


def _always_on(block: MultiGateMoE) -> AlwaysOn:
    """Return the neurons of a block that every token passes through: those of the frozen FFN and of shared experts."""
    like = block.experts.down_proj[0].T
    dense = AlwaysOn.of(block.dense, like)
    shared = AlwaysOn.of(block.shared, like)
    return dense.beside(shared.scaled(block.shape.shared_scale))


def _routed(block: MultiGateMoE, cluster: int, layout: StockLayout, router: str, experts: str) -> dict[str, Tensor]:
    """Return router and experts of a block for one cluster, by the given names."""
    more = layout.expert_width - block.shape.width
    gate_EWH, up_EWH = (pad(half, (0, 0, 0, more)) for half in block.experts.gate_up_proj.chunk(2, dim=1))
    return {
        f"{router}.weight": block.gate.weight_CEH[cluster].clone(),
        f"{experts}.experts.gate_up_proj": torch.cat([gate_EWH, up_EWH], dim=1),
        f"{experts}.experts.down_proj": block.shape.scale * pad(block.experts.down_proj, (0, more)),
    }
