"""Routes that write: explanations, their stream, the experts of a text's tokens, recommendations and feedback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gavamoe.service.answers import PairStream
from gavamoe.service.browse import recommend
from gavamoe.service.dependencies import ERRORS, RunNow, ServiceNow, client_gone, run_now, service_now
from gavamoe.service.generation import TokensWork
from gavamoe.service.guarded_store import StoreUnavailableError
from gavamoe.service.plans import RefusedError, check_history
from gavamoe.service.schemas import (
    ExpertsAnswer,
    ExpertsRequest,
    ExplainAnswer,
    ExplainRequest,
    FeedbackAnswer,
    FeedbackRequest,
    Pair,
    RecommendAnswer,
    RecommendRequest,
)
from gavamoe.service.served_run import ServedRun
from gavamoe.service.service import Service

explaining = APIRouter(prefix="/v1", responses=ERRORS, tags=["explanations"])


@explaining.post("/explain", response_model=ExplainAnswer)
async def explain(request: Request, body: ExplainRequest) -> Response:
    """Explain one pair or many. The texts do not depend on what other clients ask at the same time."""
    service, run = _accept(request, body)
    explanations = await service.answers.explain(run, body, client_gone(request))
    return _json({"explanations": explanations, "run": run.id})


@explaining.post(
    "/explain/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Events word, explanation and error."}},
)
async def explain_stream(request: Request, body: ExplainRequest) -> Response:
    """Explain one pair word by word, as server-sent events.

    Events: `word` {"text"}, then `explanation` (as in POST /v1/explain, with "run"), or `error` {"error"}. The words
    joined are the text. Without `decoding.candidates` the text has a single draft.
    """
    if len(body.pairs) != 1:
        raise RefusedError(422, "pairs: a stream explains one pair")
    service, run = _accept(request, body)
    return _StreamAnswer(await service.answers.stream(run, body), run.id)


class _StreamAnswer(StreamingResponse):
    """Server-sent events. The work stops as soon as the client leaves, also before the first event.

    Starlette waits for the next event before it notices that a client left, where the server implements version 2.4 of
    the ASGI specification. It also does not start the events if the client left while the headers were sent.
    """

    def __init__(self, stream: PairStream, run: str):
        async def encoded() -> AsyncIterator[bytes]:
            async for event in stream.events:
                yield KEEPALIVE_COMMENT if event is None else _encode(*event, run=run)

        super().__init__(encoded(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end or the client leaves.

        Raises:
            ClientDisconnect: The server refused to send, because the client left.
        """

        async def checked(message: Message) -> None:
            try:
                await send(message)
            except OSError:
                raise ClientDisconnect from None

        sending = asyncio.ensure_future(self.stream_response(checked))
        left = asyncio.ensure_future(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            self.stream.stop()
            sending.cancel()
            left.cancel()
            await asyncio.gather(sending, left, return_exceptions=True)


def _accept(request: Request, body: ExplainRequest) -> tuple[Service, ServedRun]:
    """Return the service and the run that answers; read here, because dependencies of FastAPI take longer than a hit.

    Raises:
        RefusedError: The request has too many pairs.
    """
    service, run = service_now(request), run_now(request)
    if len(body.pairs) > service.settings.pairs_per_request:
        raise RefusedError(413, f"pairs: at most {service.settings.pairs_per_request} in one request")
    request.state.pairs = len(body.pairs)
    return service, run


def _json(answer: dict[str, Any]) -> Response:
    return Response(to_json(answer, inf_nan_mode="null"), media_type="application/json")


def _encode(name: str, data: dict[str, Any], run: str) -> bytes:
    if name == "explanation":
        data = {**data, "run": run}
    return format_sse_event(event=name, data_str=to_json(data, inf_nan_mode="null").decode())


@explaining.post("/experts", response_model=ExpertsAnswer)
async def experts(request: Request, body: ExpertsRequest, service: ServiceNow, run: RunNow) -> Response:
    """Return the experts that each token of a text is routed to.

    The joined tokens are the text with single blanks, cut at the longest text of the run.
    """
    run.require_texts()
    work = TokensWork(run, body.user, body.item, body.text, body.rating, body.feature)
    tokens = await service.answers.experts_of_tokens(work, client_gone(request))
    about = run.about()
    return _json({"tokens": tokens, "layers": about["layers"], "experts": about["experts"], "run": run.id})


@explaining.post("/recommend", response_model=RecommendAnswer)
async def recommendations(request: Request, body: RecommendRequest, service: ServiceNow, run: RunNow) -> Response:
    """Recommend the items with the best predicted rating among those that the user has not reviewed.

    With a history, the user is estimated from it, and its items are left out. Without one, an unknown user gets the
    items with the best mean rating among the most reviewed, and each says why.
    """
    if body.explain:
        run.require_texts()
    history = check_history(run, body.history, "history")
    items, note = await run_in_threadpool(recommend, run, body.user or "", body.top, history)
    if body.explain and items:
        await _explain_items(request, service, run, body, items)
    return _json({"user": body.user, "items": items, "note": note, "run": run.id})


async def _explain_items(
    request: Request, service: ServiceNow, run: RunNow, body: RecommendRequest, items: list[dict[str, Any]]
) -> None:
    """Add cluster and text to recommended items."""
    step = service.settings.pairs_per_request
    for start in range(0, len(items), step):
        part = items[start : start + step]
        pairs = [Pair.model_construct(user=body.user or "", item=row["item"], history=body.history) for row in part]
        wanted = ExplainRequest.model_construct(pairs=pairs, evidence=0)
        explanations = await service.answers.explain(run, wanted, client_gone(request))
        for row, explanation in zip(part, explanations, strict=True):
            row |= {"cluster": explanation["cluster"], "text": explanation["text"]}


@explaining.post("/feedback", response_model=FeedbackAnswer)
async def feedback(body: FeedbackRequest, service: ServiceNow, run: RunNow) -> Response:
    """Keep what a person thinks of an explanation. 503 if it cannot be kept."""
    try:
        await service.store.add_feedback(run=run.digest, **body.model_dump())
    except StoreUnavailableError as error:
        raise RefusedError(503, str(error), retry_after=5) from None
    service.metrics.feedback.labels(str(body.useful).lower()).inc()
    return _json({"kept": True})
