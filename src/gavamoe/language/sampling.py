"""Sampling that belongs to the pair: the same pair draws the same text alone, in any batch, in any order.

The Gumbel-max trick turns sampling into an argmax over logits plus noise. The noise here is a hash of (seed, user,
item, step, token) and not the next numbers of a generator, so nothing about the rest of the batch can change it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor

# Tokens that can be drawn at all: the rest of the tail has no mass worth its noise. The fewer hold the nucleus of most
# rows, and are found in a third of the time; either way the draws are the same.
FEW, MOST = 32, 256


class PairSampling(LogitsProcessor):
    """Temperature and top-p sampling as a processor for greedy search; `key_B` comes from `pair_keys`."""

    def __init__(self, key_B: Tensor, prompt_width: int, temperature: float, top_p: float):
        self.key_B, self.prompt_width, self.temperature, self.top_p = key_B, prompt_width, temperature, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Logits [B, vocabulary] -> perturbed logits, -inf outside the nucleus."""
        log_p_BV = (scores.float() / self.temperature).log_softmax(-1)
        key_B = mix(self.key_B + (input_ids.shape[1] - self.prompt_width))
        drawn_BV, mass_B = self._draw(log_p_BV, key_B, FEW)
        (wide_N,) = (mass_B < self.top_p).nonzero(as_tuple=True)
        if len(wide_N):
            drawn_BV[wide_N] = self._draw(log_p_BV[wide_N], key_B[wide_N], MOST)[0]
        return drawn_BV.to(scores.dtype)

    def _draw(self, log_p_BV: Tensor, key_B: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
        """Perturbed logits of the nucleus among the likeliest tokens, and the mass of those [B]."""
        log_p_BC, token_BC = log_p_BV.topk(min(candidates, log_p_BV.shape[-1]), dim=-1)
        mass_BC = log_p_BC.exp().cumsum(-1)
        outside_BC = mass_BC - log_p_BC.exp() >= self.top_p  # the first token is never outside
        noise_BC = gumbel(mix(key_B.unsqueeze(1) + token_BC))
        drawn_BC = (log_p_BC + noise_BC).masked_fill(outside_BC, -torch.inf)
        return torch.full_like(log_p_BV, -torch.inf).scatter(1, token_BC, drawn_BC), mass_BC[:, -1]


def pair_keys(user_B: Tensor, item_B: Tensor, seed: int, draft_B: Tensor | int = 0) -> Tensor:
    """One int64 a pair and draft."""
    return mix(mix(mix(mix(torch.full_like(user_B, seed)) + user_B) + item_B) + draft_B)


def mix(x: Tensor) -> Tensor:
    """The finalizer of splitmix64 (Steele et al. 2014) on int64: every bit in stirs every bit out."""
    x = x + _signed(0x9E3779B97F4A7C15)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def gumbel(bits: Tensor) -> Tensor:
    """Standard Gumbel noise, float32, from random int64 bits."""
    uniform = (_shift(bits, 11).double() + 0.5) / 2**53
    return -(-uniform.log()).log().float()


def _shift(x: Tensor, places: int) -> Tensor:
    """Logical right shift: torch's own keeps the sign."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant
