"""The interface of a network that writes texts: losses for training, and logits token by token for decoding.

Shape suffixes: B batch, T text tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gavamoe.baselines.data import TextBatch
from gavamoe.language.encoding import IGNORED
from gavamoe.parameters import num_parameters


@dataclass(frozen=True)
class Losses:
    """Losses of a batch; the training objective is text + auxiliary.

    Args:
        text: mean cross-entropy of the scored text tokens.
        auxiliary: weighted sum of the other tasks' losses; 0 without any.
        tokens: number of scored text tokens.
    """

    text: Tensor
    auxiliary: Tensor | float
    tokens: int


@dataclass(frozen=True)
class Phase:
    """A part of training with its own learning rate, early stopping and trainable parameters.

    Args:
        name: shown in the progress bar and written into the training history.
        learning_rate: peak of the schedule.
        prefixes: a parameter is trained if its name starts with one of them.
    """

    name: str
    learning_rate: float
    prefixes: tuple[str, ...] = ("",)

    def trains(self, parameter: str) -> bool:
        """Return whether this phase trains the parameter with that name."""
        return parameter.startswith(self.prefixes)


class TextModel(nn.Module):
    """A network that writes the explanation of a pair; subclasses define `phases`."""

    phases: tuple[Phase, ...]

    def losses(self, batch: TextBatch, phase: str) -> Losses:
        """Return the losses of a batch with texts in the phase with that name."""
        raise NotImplementedError

    def prefill(self, batch: TextBatch) -> tuple[Tensor, Any]:
        """Process the prompt of each pair; return the first token's logits [B, V] and the decoder's state."""
        raise NotImplementedError

    def decode_step(self, token_B: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Process one more token; return the next token's logits [B, V] and the new state."""
        raise NotImplementedError

    def rate(self, user_B: Tensor, item_B: Tensor) -> Tensor | None:
        """Return the predicted level of each pair [B]; None if the model predicts no ratings."""
        return None

    def num_parameters(self) -> int:
        """Return the number of parameters, including those of a frozen base model."""
        return num_parameters(self)

    def trainable_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and value of each parameter that some phase trains."""
        for name, parameter in self.named_parameters():
            if any(phase.trains(name) for phase in self.phases):
                yield name, parameter

    def saved_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what is saved: trainable parameters and buffers, but no frozen base model."""
        yield from self.trainable_parameters()
        parameters = dict(self.named_parameters())
        yield from ((name, tensor) for name, tensor in self.state_dict().items() if name not in parameters)


def text_loss(logits_BTV: Tensor, text_BT: Tensor) -> tuple[Tensor, int]:
    """Return the mean cross-entropy over the scored tokens and their number.

    Args:
        logits_BTV: logits at position t predict the token at position t.
        text_BT: token ids, IGNORED where no token is scored.
    """
    tokens = int((text_BT != IGNORED).sum())
    total = nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), text_BT.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / max(tokens, 1), tokens


def shift_right(text_BT: Tensor, start: int, pad: int) -> Tensor:
    """Return the decoder's input [B, T]: the start token, then all tokens but the last; IGNORED becomes padding."""
    inputs_BT = nn.functional.pad(text_BT[:, :-1], (1, 0), value=start)
    return inputs_BT.masked_fill(inputs_BT == IGNORED, pad)
