"""From a request to pairs that are ready to be looked up or generated, checked against the run.

request --plan_pairs--> PairPlan (key of the store, work of the worker) for each pair
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from gavamoe.conditions import Condition
from gavamoe.errors import ConfigError, DataError, InputError
from gavamoe.explainer.streaming import TextReader
from gavamoe.language.decoding_config import DecodingConfig
from gavamoe.pipeline.explanation_store import PairKey, describe_decoding
from gavamoe.preference.history import UserHistory
from gavamoe.service.generation import PairWork
from gavamoe.service.schemas import ConditionModel, Decoding, ExplainRequest, HistoryEntry, Pair
from gavamoe.service.served_run import ServedRun


class RefusedError(Exception):
    """A request that is answered with an error: its status, one line, and when to try again."""

    def __init__(self, status: int, line: str, retry_after: int | None = None):
        super().__init__(line)
        self.status, self.line, self.retry_after = status, line, retry_after


@dataclass(frozen=True)
class PairPlan:
    """A pair of a request, ready to be looked up or generated."""

    key: PairKey
    digest: str
    work: PairWork


def plan_pairs(run: ServedRun, request: ExplainRequest, streamed: bool = False) -> list[PairPlan]:
    """Check a request against the run and return its pairs ready to be explained.

    Raises:
        RefusedError: A rating or feature that the condition needs is missing or impossible, or a history is
            invalid.
    """
    decoding = _decoding(run.explainer.decoding, request.decoding, streamed)
    described = run.default_decoding if decoding is run.explainer.decoding else describe_decoding(decoding)
    read: dict[int, UserHistory | None] = {}  # by identity: pairs of a recommendation share one history
    plans = []
    for number, pair in enumerate(request.pairs):
        if id(pair.history) not in read:
            read[id(pair.history)] = check_history(run, pair.history, f"pairs.{number}.history")
        history = read[id(pair.history)]
        plans.append(_plan_pair(run, request, pair, number, decoding, described, history))
    return plans


def _plan_pair(
    run: ServedRun,
    request: ExplainRequest,
    pair: Pair,
    number: int,
    decoding: DecodingConfig,
    described: str,
    history: UserHistory | None,
) -> PairPlan:
    condition = _condition(request.condition, pair, number)
    try:
        condition.with_context(run.explainer.context.most_context)
    except ConfigError as error:
        raise RefusedError(422, f"condition.context: {error}") from None
    if condition.rating == "given":
        check_rating(run, pair.rating, f"pairs.{number}.rating")
    work = PairWork(
        run=run,
        user=pair.user,
        item=pair.item,
        condition=condition,
        decoding=decoding,
        seed=request.seed,
        evidence=request.evidence,
        experts=request.experts,
        reader=TextReader(),
        rating=pair.rating,
        feature=pair.feature,
        history=history,
    )
    key = PairKey.for_pair(
        run.digest, pair.user, pair.item, condition, described, request.seed, pair.rating, pair.feature, history
    )
    return PairPlan(key, key.digest(), work)


def _decoding(default: DecodingConfig, asked: Decoding | None, streamed: bool) -> DecodingConfig:
    """Return the decoding of a request; a stream has a single draft unless the request says otherwise."""
    options = {} if asked is None else asked.model_dump(exclude_none=True)
    if streamed:
        options = {"candidates": 1, **options}
    if not options:
        return default
    decoding = default.with_options(**options)
    if (decoding.min_new_tokens or 0) > decoding.max_new_tokens:
        raise RefusedError(422, f"decoding.min_new_tokens: at most max_new_tokens, which is {decoding.max_new_tokens}")
    return decoding


def _condition(asked: ConditionModel | None, pair: Pair, number: int) -> Condition:
    """Return the condition of a pair: what the request says, else `given` for what the pair states."""
    rating = (asked and asked.rating) or ("predicted" if pair.rating is None else "given")
    feature = (asked and asked.feature) or ("predicted" if pair.feature is None else "given")
    for name, source, value in (("rating", rating, pair.rating), ("feature", feature, pair.feature)):
        if source == "given" and value is None:
            raise RefusedError(
                422, f"pairs.{number}.{name}: the condition {name}=given needs a value; choose predicted or none"
            )
    return Condition(rating, feature, asked.context if asked else None)


def check_history(run: ServedRun, entries: Sequence[HistoryEntry] | None, where: str) -> UserHistory | None:
    """Read a history of a request before its work is queued, so that an invalid one fails nobody else's work.

    Raises:
        RefusedError: The history is invalid.
    """
    if entries is None:
        return None
    try:
        return UserHistory.from_entries([each.model_dump() for each in entries], run.catalog)
    except DataError as error:
        raise RefusedError(422, f"{where}: {str(error).removeprefix('history').lstrip(',: ')}") from None


def check_rating(run: ServedRun, rating: float | None, where: str) -> None:
    """Check that a rating is on the scale of the run.

    Raises:
        RefusedError: The rating is off the scale.
    """
    try:
        run.explainer.catalog.scale.to_level(pl.Series([rating], dtype=pl.Float64))
    except InputError:
        raise RefusedError(422, f"{where}: expected {run.explainer.catalog.scale}, the scale of the run") from None
