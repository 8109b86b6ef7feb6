"""A text while it is generated: whole words that joined are exactly the finished text.

    token ids so far --ReaderCriteria, after each token--> TextReader, one per text of a batch --send--> words

In scripts without blanks each character is a word (`gavamoe.words`), so such a text is sent on before its end too.
`stream` generates in a thread, and the words come through a queue. If the reader stops early, the thread stops at the
next token.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria

from gavamoe.language.encoding import decode_text
from gavamoe.words import settled_length


class TextReader:
    """Follows one text of a batch while the batch is generated.

    Args:
        send: receives whole words as they are generated, in the thread that generates. None if only cancellation is
            needed.

    Attributes:
        abandoned: set it to stop the generation of this text at the next token; the other texts go on.
    """

    def __init__(self, send: Callable[[str], None] | None = None):
        self.send, self.abandoned = send, threading.Event()
        self._sent = 0

    def read(self, tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> None:
        """Send the words that the token ids of the text so far add, without the last word, which may still grow."""
        if tokenizer.eos_token_id in ids:
            ids = ids[: ids.index(tokenizer.eos_token_id)]
        text = decode_text(tokenizer, ids)
        self._send_rest(text[: settled_length(text)])

    def finish(self, text: str) -> None:
        """Send what is left of the finished text."""
        self._send_rest(text)

    def _send_rest(self, text: str) -> None:
        if self.send is not None and len(text) > self._sent:
            self.send(text[self._sent :])
            self._sent = len(text)


class ReaderCriteria(StoppingCriteria):
    """Passes the sequences of a batch to their readers after each token, and stops those whose reader left.

    Args:
        readers: one per sequence.
        tokenizer: decodes the tokens.
        prompt_width: tokens of the padded prompt.
        words: whether readers receive words; with beams or several drafts, the text is unknown until all are complete.
    """

    def __init__(
        self, readers: Sequence[TextReader], tokenizer: PreTrainedTokenizerBase, prompt_width: int, words: bool
    ):
        self.readers, self.tokenizer, self.prompt_width, self.words = readers, tokenizer, prompt_width, words

    def stopped(self) -> list[bool]:
        """Return for each sequence whether its reader left."""
        return [reader.abandoned.is_set() for reader in self.readers]

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Return whether each sequence must stop, bool [B]; beams stop together, when all readers left."""
        if len(input_ids) != len(self.readers):
            return torch.full((len(input_ids),), all(self.stopped()), device=input_ids.device)
        if self.words:
            for reader, ids_S in zip(self.readers, input_ids, strict=True):
                if reader.send is not None:
                    reader.read(self.tokenizer, ids_S[self.prompt_width :].tolist())
        return torch.tensor(self.stopped(), device=input_ids.device)


def stream(generate: Callable[[TextReader], Any]) -> Iterator[str]:
    """Run `generate` in a thread with a reader of its text and yield the words; re-raise its exceptions.

    The thread has ended when the iterator is exhausted or closed.
    """
    # Words, then None at the end of the text, or the exception that ended it.
    pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
    reader = TextReader(send=pieces.put)

    def work() -> None:
        try:
            generate(reader)
            pieces.put(None)
        except BaseException as error:  # re-raised in the reader's thread
            pieces.put(error)

    thread = threading.Thread(target=work, name="gavamoe-stream")
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        reader.abandoned.set()
        thread.join()
