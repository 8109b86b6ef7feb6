"""Windows of consecutive pairs: what an engine explains at once, and what an interruption can lose.

    pairs ──split_into_windows──> PairWindow ──Engine──> (PairWindow, explanations), in any order

The texts of a window depend on nothing outside it, so every engine writes the same ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.history_file import Histories
from gavamoe.progress import Advance


@dataclass(frozen=True)
class PairWindow:
    """Consecutive pairs of a file.

    Args:
        number: position among the windows of the file.
        pairs: the rows, as `read_pairs` returns them.
        histories: the history of each pair; None where no pair has one.
    """

    number: int
    pairs: pl.DataFrame
    histories: Histories


@dataclass(frozen=True)
class WindowRequest:
    """How the windows of a file are explained.

    Args:
        condition: what the prompts contain.
        decoding: how texts are decoded.
        evidence: sentences from other reviews to return with each text.
        model: `model_digest` of the run.
    """

    condition: Condition
    decoding: DecodingConfig
    evidence: int
    model: str

    def explain(self, explainer: Explainer, window: PairWindow, advance: Advance) -> list[Explanation]:
        """Explain the pairs of a window, in their order."""
        return explainer.explain_batch(
            window.pairs,
            self.condition,
            evidence=self.evidence,
            advance=advance,
            decoding=self.decoding,
            histories=window.histories,
        )


# Takes the windows, the request, and what moves the progress bar by a number of pairs.
Engine = Callable[[Sequence[PairWindow], WindowRequest, Advance], Iterator[tuple[PairWindow, list[Explanation]]]]


def local_engine(explainer: Explainer) -> Engine:
    """Return an engine that explains one window after another in this process."""

    def explain(
        windows: Sequence[PairWindow], request: WindowRequest, advance: Advance
    ) -> Iterator[tuple[PairWindow, list[Explanation]]]:
        for window in windows:
            yield window, request.explain(explainer, window, advance)

    return explain


def split_into_windows(pairs: pl.DataFrame, histories: Histories, size: int) -> list[PairWindow]:
    """Return the windows of `size` pairs in their order; only the last one may be smaller."""
    return [
        PairWindow(
            number,
            pairs[start : start + size],
            None if histories is None else histories[start : start + size],
        )
        for number, start in enumerate(range(0, len(pairs), size))
    ]


def model_digest(explainer: Explainer) -> str:
    """Return a SHA-256 over what identifies a run.

    It covers a few weights that every training changes, the template of the prompts, which may be edited, and the
    evidence, which may be absent.
    """
    template, sentences = explainer.context.template, explainer.context.evidence.sentences
    digest = hashlib.sha256(f"{'' if template is None else template.source}\0{sentences.height}".encode())
    soft_token = explainer.model.user_token.projection  # without soft tokens, its bias is trained all the same
    for weights in (*soft_token.parameters(), *explainer.preference.prior.parameters()):
        digest.update(weights.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
