"""What the worker does with a group of jobs: one call of the model for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from gavamoe.conditions import Condition
from gavamoe.explainer.explainer import Explainer
from gavamoe.explainer.explanation import Explanation
from gavamoe.explainer.streaming import TextReader
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.explanation_store import StoredExplanation
from gavamoe.preference.history import UserHistory
from gavamoe.service.served_run import ServedRun
from gavamoe.service.worker import DeviceLostError, Job


@dataclass(frozen=True)
class PairWork:
    """A pair to explain.

    Args:
        run: the run that explains.
        user: name of the user.
        item: name of the item.
        condition: where the prompt's rating and feature come from.
        decoding: how to decode.
        seed: of sampling.
        evidence: sentences by other users.
        experts: whether to report experts.
        reader: follows the text.
        rating: the given rating.
        feature: the given feature.
        history: rated items from which the user is estimated; None to look the user up.
    """

    run: ServedRun
    user: str
    item: str
    condition: Condition
    decoding: DecodingConfig
    seed: int
    evidence: int
    experts: bool
    reader: TextReader
    rating: float | None = None
    feature: str | None = None
    history: UserHistory | None = None

    def job(self) -> Job:
        """Return the job of the pair; pairs with the same run, condition, decoding and seed share batches."""
        group = ("explain", id(self.run), self.condition, self.decoding, self.seed)
        return Job(group, self, abandoned=self.reader.abandoned)


@dataclass(frozen=True)
class TokensWork:
    """A text whose tokens' experts are asked for."""

    run: ServedRun
    user: str
    item: str
    text: str
    rating: float | None
    feature: str | None

    def job(self) -> Job:
        """Return the job of the text."""
        return Job(("tokens", id(self.run)), self)


def perform(jobs: list[Job]) -> Sequence[Any]:
    """Perform jobs with equal group keys; the result of a job whose client left means nothing.

    Raises:
        DeviceLostError: the GPU reports an error after which it computes nothing more in this process.
    """
    try:
        if isinstance(jobs[0].work, TokensWork):
            return [_experts_of_tokens(job.work) for job in jobs]
        waiting = [job for job in jobs if not job.abandoned.is_set()]
        results = dict(zip(map(id, waiting), _explain([job.work for job in waiting]), strict=True)) if waiting else {}
        return [results.get(id(job)) for job in jobs]
    except torch.AcceleratorError as error:
        raise DeviceLostError(str(error).splitlines()[0]) from error


def pairs_frame(works: Sequence[Any], condition: Condition) -> pl.DataFrame:
    """Return user and item of pairs, with rating and feature where the condition says `given`."""
    columns: dict[str, pl.Series] = {
        "user": pl.Series([work.user for work in works], dtype=pl.String),
        "item": pl.Series([work.item for work in works], dtype=pl.String),
    }
    if condition.rating == "given":
        columns["rating"] = pl.Series([work.rating for work in works], dtype=pl.Float64)
    if condition.feature == "given":
        columns["feature"] = pl.Series([work.feature for work in works], dtype=pl.String)
    return pl.DataFrame(columns)


def call_model(explainer: Explainer, works: Sequence[PairWork]) -> list[Explanation]:
    """Explain the pairs of one group. This is the only place where the service calls the model for texts."""
    first = works[0]
    return explainer.explain_batch(
        pairs_frame(works, first.condition),
        first.condition,
        experts=any(work.experts for work in works),
        seed=first.seed,
        evidence=max(work.evidence for work in works),
        advance=lambda steps, text: None,
        decoding=first.decoding,
        readers=[work.reader for work in works],
        histories=[work.history for work in works],
    )


def _explain(works: Sequence[PairWork]) -> list[StoredExplanation]:
    explanations = call_model(works[0].run.explainer, works)
    evidence, experts = max(work.evidence for work in works), any(work.experts for work in works)
    return [StoredExplanation(each.to_dict(), evidence, experts) for each in explanations]


def _experts_of_tokens(work: TokensWork) -> list[dict[str, Any]]:
    tokens = work.run.explainer.token_experts(work.user, work.item, work.text, work.rating, work.feature)
    return [{"text": token.text, "layers": token.layers} for token in tokens]
