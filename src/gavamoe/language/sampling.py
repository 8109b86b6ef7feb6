"""Sampling that is a function of the pair: a pair's text is the same alone, in any batch and in any order.

The Gumbel-max trick turns sampling into an argmax: the largest of log-probabilities plus Gumbel noise is a sample of
the softmax. The noise is a hash of (seed, user, item, draft, step, token) instead of a generator's next numbers, so the
rest of the batch cannot change it.

Shape suffixes: B sequences, V vocabulary, C likeliest tokens, N rows whose nucleus is wide.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor

# How many of the likeliest tokens can be drawn; the rest of the tail has too little mass to need noise. The narrow
# number holds the nucleus of most rows and takes a third of the time; rows it does not suffice for use the wide one.
NARROW, WIDE = 32, 256


class PairSampling(LogitsProcessor):
    """Temperature and top-p sampling as a logits processor for greedy search.

    Args:
        key_B: a key per sequence (`pair_keys`), int64 [B].
        prompt_width: tokens of the padded prompt, so that steps are counted from the text's first token.
        temperature: divides the logits.
        top_p: probability mass of the nucleus, in (0, 1].
    """

    def __init__(self, key_B: Tensor, prompt_width: int, temperature: float, top_p: float):
        self.key_B, self.prompt_width, self.temperature, self.top_p = key_B, prompt_width, temperature, top_p

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return perturbed logits [B, V], -inf outside the nucleus; their argmax is the sampled token."""
        log_p_BV = (scores.float() / self.temperature).log_softmax(-1)
        key_B = splitmix64(self.key_B + (input_ids.shape[1] - self.prompt_width))
        perturbed_BV, mass_B = self._perturb(log_p_BV, key_B, NARROW)
        (wide_N,) = (mass_B < self.top_p).nonzero(as_tuple=True)
        if len(wide_N):
            perturbed_BV[wide_N] = self._perturb(log_p_BV[wide_N], key_B[wide_N], WIDE)[0]
        return perturbed_BV.to(scores.dtype)

    def _perturb(self, log_p_BV: Tensor, key_B: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        """Return perturbed logits of the nucleus within the likeliest `tokens`, and the mass of those tokens [B]."""
        log_p_BC, token_BC = log_p_BV.topk(min(tokens, log_p_BV.shape[-1]), dim=-1)
        mass_BC = log_p_BC.exp().cumsum(-1)
        outside_BC = mass_BC - log_p_BC.exp() >= self.top_p  # the first token is always inside
        noise_BC = gumbel_noise(splitmix64(key_B.unsqueeze(1) + token_BC))
        perturbed_BC = (log_p_BC + noise_BC).masked_fill(outside_BC, -torch.inf)
        return torch.full_like(log_p_BV, -torch.inf).scatter(1, token_BC, perturbed_BC), mass_BC[:, -1]


def pair_keys(user_B: Tensor, item_B: Tensor, seed: int, draft_B: Tensor | int = 0) -> Tensor:
    """Return a hash of (seed, user, item, draft) for each sequence, int64 [B]."""
    seed_B = splitmix64(torch.full_like(user_B, seed))
    return splitmix64(splitmix64(splitmix64(seed_B + user_B) + item_B) + draft_B)


def splitmix64(x: Tensor) -> Tensor:
    """Return the splitmix64 hash (Steele et al. 2014) of int64 values; every input bit affects every output bit."""
    x = x + _as_signed(0x9E3779B97F4A7C15)
    x = (x ^ _logical_right_shift(x, 30)) * _as_signed(0xBF58476D1CE4E5B9)
    x = (x ^ _logical_right_shift(x, 27)) * _as_signed(0x94D049BB133111EB)
    return x ^ _logical_right_shift(x, 31)


def gumbel_noise(bits: Tensor) -> Tensor:
    """Return standard Gumbel noise, float32, from random int64 bits of the same shape."""
    uniform = (_logical_right_shift(bits, 11).double() + 0.5) / 2**53
    return -(-uniform.log()).log().float()


def _logical_right_shift(x: Tensor, places: int) -> Tensor:
    """Shift without the sign bit, which torch's own right shift repeats."""
    return (x >> places) & ((1 << (64 - places)) - 1)


def _as_signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant
