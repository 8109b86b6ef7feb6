"""What a network must answer to be trained and to write: its losses, and its next token's logits.

Shape suffixes: B batch, T text tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gavamoe.baselines.batches import Batch
from gavamoe.language.encoding import IGNORED


@dataclass(frozen=True)
class Losses:
    """text: mean cross-entropy of the scored tokens. others: the further tasks, weighted. tokens: how many scored."""

    text: Tensor
    others: Tensor | float
    tokens: int


@dataclass(frozen=True)
class Phase:
    """A part of training with its own learning rate, early stopping and parameters; `trains` picks them by name."""

    name: str
    learning_rate: float
    prefixes: tuple[str, ...] = ("",)

    def trains(self, parameter: str) -> bool:
        """Whether the parameter of that name is learned in this phase."""
        return parameter.startswith(self.prefixes)


class TextModel(nn.Module):
    """A system's network."""

    phases: tuple[Phase, ...]

    def losses(self, batch: Batch, phase: str) -> Losses:
        """Of a batch with texts, in the named phase."""
        raise NotImplementedError

    def begin(self, batch: Batch) -> tuple[Tensor, Any]:
        """Logits of the first token [B, V], and the state that `step` goes on from."""
        raise NotImplementedError

    def step(self, token_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits of the token after `token_B`, [B, V], and the next state."""
        raise NotImplementedError

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor | None:
        """Predicted level of each pair [B], where the model predicts any."""
        return None

    def size(self) -> int:
        """How many parameters it has, a frozen base model's with them."""
        return sum(parameter.numel() for parameter in self.parameters())

    def learned(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters that any phase learns, by name."""
        for name, parameter in self.named_parameters():
            if any(phase.trains(name) for phase in self.phases):
                yield name, parameter

    def kept(self) -> Iterator[tuple[str, Tensor]]:
        """What is saved: the learned parameters, and the fixed vectors that they were learned beside."""
        yield from self.learned()
        parameters = dict(self.named_parameters())
        yield from ((name, tensor) for name, tensor in self.state_dict().items() if name not in parameters)


def text_loss(logits_BTV: Tensor, text_BT: Tensor) -> tuple[Tensor, int]:
    """Mean cross-entropy over the scored tokens, and how many there are; logits at t are of the token at t."""
    tokens = int((text_BT != IGNORED).sum())
    total = nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), text_BT.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / max(tokens, 1), tokens


def shifted(text_BT: Tensor, start: int, pad: int) -> Tensor:
    """The text as input, [B, T]: the start token, then all but the last; padding in place of IGNORED."""
    inputs_BT = nn.functional.pad(text_BT[:, :-1], (1, 0), value=start)
    return inputs_BT.masked_fill(inputs_BT == IGNORED, pad)
