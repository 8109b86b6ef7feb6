"""A small Transformer with a caller-defined attention mask and a key-value cache for decoding.

Shape suffixes: B batch, S new positions, P all positions so far, N heads, D head, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]  # keys and values [B, N, P, D] a layer


class Layer(nn.Module):
    """A pre-norm Transformer layer: self-attention, then a feed-forward network (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project_in, self.project_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BSH: Tensor, mask_BSP: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new hidden states [B, S, H], and the keys and values of all positions.

        Args:
            x_BSH: hidden states of the new positions.
            mask_BSP: True where a new position may attend to a position.
            past: keys and values of earlier positions.
        """
        q_BNSD, k_BNPD, v_BNPD = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.project_in(self.before_attention(x_BSH)).chunk(3, dim=-1)
        )
        if past is not None:
            k_BNPD, v_BNPD = torch.cat([past[0], k_BNPD], dim=2), torch.cat([past[1], v_BNPD], dim=2)
        attended_BNSD = nn.functional.scaled_dot_product_attention(q_BNSD, k_BNPD, v_BNPD, attn_mask=mask_BSP[:, None])
        x_BSH = x_BSH + self.dropout(self.project_out(attended_BNSD.transpose(1, 2).flatten(2)))
        return x_BSH + self.dropout(self.network(self.before_network(x_BSH))), (k_BNPD, v_BNPD)


class Transformer(nn.Module):
    """A stack of layers over embeddings that already include their positions."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # Each layer adds two outputs to the residual stream; smaller weights keep its variance (Radford et al. 2019).
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                last = name.endswith(("project_out.weight", "network.2.weight"))
                nn.init.normal_(parameter, std=width**-0.5 * ((2 * layers) ** -0.5 if last else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x_BSH: Tensor, mask_BSP: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return the hidden states of the new positions [B, S, H], and the cache including them."""
        extended: Cache = []
        for number, layer in enumerate(self.layers):
            x_BSH, keys_and_values = layer(x_BSH, mask_BSP, cache[number] if cache else None)
            extended.append(keys_and_values)
        return self.norm(x_BSH), extended
