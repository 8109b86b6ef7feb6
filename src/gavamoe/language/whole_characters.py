"""Whole characters only: what a byte-level tokenizer's tokens may follow, so that a text never shows U+FFFD.

A token may hold a part of a character: "好" is the bytes E5 A5 BD, often three tokens. A model that follows the first
of them with anything but the second writes bytes that are no text. A state machine over UTF-8 (Unicode, Table 3-7)
knows, for every token, whether it may come next:

    token ids --TokenBytes.from_tokenizer--> next_SV: the state after each token, REJECT if it may not come

The replacement character itself (EF BF BD), which damaged training texts hold, is rejected as well.

Shape suffixes: S states, V vocabulary, B sequences, N some of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

# State -> (first byte, last byte, next state) of the bytes that may come; DONE: between two characters.
DONE = "done"
_UTF8: dict[str, tuple[tuple[int, int, str], ...]] = {
    DONE: (
        (0x00, 0x7F, DONE),
        (0xC2, 0xDF, "one"),
        (0xE0, 0xE0, "e0"),
        (0xE1, 0xEC, "two"),
        (0xED, 0xED, "ed"),
        (0xEE, 0xEE, "two"),
        (0xEF, 0xEF, "ef"),
        (0xF0, 0xF0, "f0"),
        (0xF1, 0xF3, "three"),
        (0xF4, 0xF4, "f4"),
    ),
    "one": ((0x80, 0xBF, DONE),),  # one more byte
    "two": ((0x80, 0xBF, "one"),),
    "three": ((0x80, 0xBF, "two"),),
    "e0": ((0xA0, 0xBF, "one"),),
    "ed": ((0x80, 0x9F, "one"),),
    "f0": ((0x90, 0xBF, "two"),),
    "f4": ((0x80, 0x8F, "two"),),
    "ef": ((0x80, 0xBE, "one"), (0xBF, 0xBF, "efbf")),
    "efbf": ((0x80, 0xBC, DONE), (0xBE, 0xBF, DONE)),  # EF BF BD is U+FFFD
}
START, REJECT = 0, len(_UTF8)
MAX_BYTES = 4  # of a character, thus at most as many tokens


def _byte_table() -> np.ndarray:
    """Return the state after each byte in each state, [S + 1, 256]."""
    number = {name: state for state, name in enumerate(_UTF8)}
    table = np.full((len(_UTF8) + 1, 256), REJECT, dtype=np.int8)
    for name, ranges in _UTF8.items():
        for first, last, following in ranges:
            table[number[name], first : last + 1] = number[following]
    return table


@dataclass(frozen=True)
class TokenBytes:
    """The state after each token in each state.

    Args:
        next_SV: states, int8 [S + 1, V]; REJECT where the token may not come.
    """

    next_SV: Tensor

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase) -> TokenBytes | None:
        """Return the table of a byte-level tokenizer or one with byte fallback; None for others, which need none."""
        spelling = _spelling(tokenizer)
        if spelling is None:
            return None
        added = set(tokenizer.get_added_vocab().values())
        vocabulary = tokenizer.get_vocab()
        pieces: list[bytes] = [b""] * (max(vocabulary.values()) + 1)
        for token, position in vocabulary.items():
            if position not in added:  # those are whole
                pieces[position] = spelling(token)
        return cls(torch.from_numpy(_after(pieces)))

    def complete_length(self, ids: Sequence[int]) -> int:
        """Return how many of the tokens come before an incomplete last character."""
        state, complete = START, 0
        for place, token in enumerate(ids, 1):
            state = int(self.next_SV[state, token]) if token < self.next_SV.shape[1] else START
            if state == REJECT:  # not of this module's making: the decoder shows it as it likes
                state = START
            if state == START:
                complete = place
        return complete

    def to(self, device: torch.device) -> TokenBytes:
        """Return the table on a device."""
        return self if self.next_SV.device == device else TokenBytes(self.next_SV.to(device))


def _spelling(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], bytes] | None:
    """Return the function from a token to its bytes; None if no token of the tokenizer holds part of a character."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    decoder = json.dumps(json.loads(backend.to_str()).get("decoder"))
    if '"ByteLevel"' in decoder:
        return _byte_level
    return _byte_fallback if '"ByteFallback"' in decoder else None


def _byte_level(token: str) -> bytes:
    byte = _byte_of_letter()
    return bytes(byte[letter] for letter in token) if all(letter in byte for letter in token) else token.encode()


def _byte_fallback(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.encode()


@lru_cache(1)
def _byte_of_letter() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(other)}


def _after(pieces: Sequence[bytes]) -> np.ndarray:
    """Return the state after each token's bytes in each state, int8 [S + 1, V]; a token without bytes needs START."""
    table = _byte_table()
    after_SV = np.repeat(np.arange(REJECT + 1, dtype=np.int8)[:, None], len(pieces), axis=1)
    lengths = np.array([len(piece) for piece in pieces])
    after_SV[1:, lengths == 0] = REJECT  # special tokens, the end of a text among them
    for place in range(lengths.max(initial=0)):
        (longer,) = np.nonzero(lengths > place)
        byte = np.array([pieces[token][place] for token in longer.tolist()])
        after_SV[:, longer] = table[after_SV[:, longer], byte]
    return after_SV


@lru_cache(8)
def token_bytes(tokenizer: PreTrainedTokenizerBase) -> TokenBytes | None:
    """Return `TokenBytes.from_tokenizer`, computed once per tokenizer."""
    return TokenBytes.from_tokenizer(tokenizer)


class WholeCharacters(LogitsProcessor):
    """Keeps UTF-8 sequences whole; the last logits processor, because it looks at the token that is chosen.

    Where the likeliest token may come, the logits stay as they are to the bit. Otherwise the tokens that may not come
    are excluded. If the sampling before left no other token, the likeliest of the model's logits is taken.

    Args:
        tokens: the tokenizer's table.
        prompt_width: tokens of the padded prompt, which count for nothing.
        sampling: the processor that turns logits into perturbed ones, run first; None for greedy search.
        beams: whether several tokens may be chosen, so that all that may not come are excluded always.
    """

    def __init__(
        self, tokens: TokenBytes, prompt_width: int, sampling: LogitsProcessor | None = None, beams: bool = False
    ):
        self.tokens, self.prompt_width, self.sampling, self.beams = tokens, prompt_width, sampling, beams

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return logits [B, V] whose argmax continues the text's last character, or follows a whole one."""
        perturbed = scores if self.sampling is None else self.sampling(input_ids, scores)
        self.tokens = self.tokens.to(scores.device)
        state_B = self._states(input_ids[:, self.prompt_width :])
        (wrong_N,) = (self._after(state_B, perturbed.argmax(-1)) == REJECT).nonzero(as_tuple=True)
        if self.beams:
            wrong_N = torch.arange(len(scores), device=scores.device)
        if not len(wrong_N):
            return perturbed
        excluded_NV = self._excluded(state_B[wrong_N], scores.shape[1])
        kept_NV = perturbed[wrong_N].masked_fill(excluded_NV, -torch.inf)
        lost_N = kept_NV.isneginf().all(-1, keepdim=True)
        kept_NV = torch.where(lost_N, scores[wrong_N].masked_fill(excluded_NV, -torch.inf), kept_NV)
        return perturbed.index_copy(0, wrong_N, kept_NV)

    def _states(self, text_BS: Tensor) -> Tensor:
        """Return the state after each text [B]; it follows from the last MAX_BYTES tokens.

        A character that is incomplete began within them. The first of them may end an earlier one.
        """
        start_B = state_B = torch.full_like(text_BS[:, :1].sum(1), START)
        for token_B in text_BS[:, -MAX_BYTES:].unbind(1):
            after_B = self._after(state_B, token_B)
            after_B = torch.where(after_B == REJECT, self._after(start_B, token_B), after_B)
            state_B = torch.where(after_B == REJECT, self._after_fragment(token_B), after_B)
        return state_B

    def _after(self, state_B: Tensor, token_B: Tensor) -> Tensor:
        known_B = token_B < self.tokens.next_SV.shape[1]
        after_B = self.tokens.next_SV[state_B, token_B.where(known_B, 0)].long()
        # A model may have more tokens than its tokenizer; they mean nothing and count as whole.
        return torch.where(known_B, after_B, torch.where(state_B == START, START, REJECT))

    def _after_fragment(self, token_B: Tensor) -> Tensor:
        """Return the state after tokens that end a character, if it does not depend on that character, else START."""
        after_SB = torch.stack([self._after(torch.full_like(token_B, state), token_B) for state in range(1, REJECT)])
        highest_B, lowest_B = after_SB.where(after_SB != REJECT, -1).amax(0), after_SB.amin(0)
        return highest_B.where(highest_B == lowest_B, START)

    def _excluded(self, state_N: Tensor, width: int) -> Tensor:
        excluded_NV = self.tokens.next_SV[state_N] == REJECT
        missing = width - excluded_NV.shape[1]
        if missing <= 0:
            return excluded_NV[:, :width]
        return torch.cat([excluded_NV, (state_N != START)[:, None].expand(-1, missing)], dim=1)
