"""A small Transformer whose attention mask is the caller's, with a cache to write one token after the other.

Shape suffixes: B batch, S new positions, P all positions so far, N heads, D head, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]  # keys and values [B, N, P, D] a layer


class Layer(nn.Module):
    """Self-attention, then a feed-forward network; each normalised before, added after (Xiong et al. 2020)."""

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
        """mask_BSP: True where a new position may look. Returns the new hidden states and the longer cache."""
        q_BNSD, k_BNPD, v_BNPD = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.project_in(self.before_attention(x_BSH)).chunk(3, dim=-1)
        )
        if past is not None:
            k_BNPD, v_BNPD = torch.cat([past[0], k_BNPD], dim=2), torch.cat([past[1], v_BNPD], dim=2)
        seen_BNSD = nn.functional.scaled_dot_product_attention(q_BNSD, k_BNPD, v_BNPD, attn_mask=mask_BSP[:, None])
        x_BSH = x_BSH + self.dropout(self.project_out(seen_BNSD.transpose(1, 2).flatten(2)))
        return x_BSH + self.dropout(self.network(self.before_network(x_BSH))), (k_BNPD, v_BNPD)


class Transformer(nn.Module):
    """Layers over vectors that already know their places."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # The residual stream sums two outputs a layer: scaled down, it keeps its variance (Radford et al. 2019).
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                last = name.endswith(("project_out.weight", "network.2.weight"))
                nn.init.normal_(parameter, std=width**-0.5 * ((2 * layers) ** -0.5 if last else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x_BSH: Tensor, mask_BSP: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Hidden states of the new positions [B, S, H], and the cache with them."""
        longer: Cache = []
        for place, layer in enumerate(self.layers):
            x_BSH, kept = layer(x_BSH, mask_BSP, cache[place] if cache else None)
            longer.append(kept)
        return self.norm(x_BSH), longer
