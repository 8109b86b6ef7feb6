"""A text while it is written: whole words, that joined are exactly the finished text.

`generate` of transformers hands its tokens to a streamer as it goes, so it runs in a thread of its own here and the
words come through a queue. A reader who stops early stops the thread at the next token.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from gavamoe.language.encoding import decode_text


class WordStreamer(BaseStreamer, StoppingCriteria):
    """Takes tokens in, gives words out; as a stopping criterion, ends the text that nobody reads any more."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.pieces: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self.abandoned = threading.Event()
        self._ids: list[int] = []
        self._sent = ""
        self._prompt_is_next, self._ended = True, False

    def put(self, value: Tensor) -> None:
        """Called by `generate` with the prompt, then with each token."""
        if self._prompt_is_next:
            self._prompt_is_next = False
            return
        for token in value.flatten().tolist():
            self._ended = self._ended or token == self.tokenizer.eos_token_id
            if not self._ended:
                self._ids.append(token)
        # The last word may still grow, and bytes may still be missing from its last letter.
        self._send(decode_text(self.tokenizer, self._ids).rpartition(" ")[0])

    def end(self) -> None:
        """Called by `generate` when the text is complete."""
        self._send(decode_text(self.tokenizer, self._ids))

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Whether to stop, [B]."""
        return input_ids.new_full((len(input_ids),), int(self.abandoned.is_set())).bool()

    def _send(self, text: str) -> None:
        if len(text) > len(self._sent):
            self.pieces.put(text[len(self._sent) :])
            self._sent = text


def stream(streamer: WordStreamer, write: Callable[[], Any]) -> Iterator[str]:
    """Run `write` (a generation that feeds `streamer`) in a thread; yield the pieces; raise what it raises.

    The thread is gone when the iterator is exhausted or closed.
    """

    def work() -> None:
        try:
            write()
            streamer.pieces.put(None)
        except BaseException as error:  # raised again where it can be caught
            streamer.pieces.put(error)

    thread = threading.Thread(target=work, name="gavamoe-stream")
    thread.start()
    try:
        while (piece := streamer.pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        streamer.abandoned.set()
        thread.join()
