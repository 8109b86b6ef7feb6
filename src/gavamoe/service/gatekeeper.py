"""What every request passes: key or loopback, request id, security headers, one log line and the metrics.

It is plain ASGI, so that streams stay streams and a handler can see that its client left.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gavamoe.service.metrics import ServiceMetrics
from gavamoe.service.settings import is_loopback

LOG = logging.getLogger("gavamoe.service")
OPEN_PATHS = ("/health/live", "/health/ready")  # probes carry no key
# They hold no data. The page asks a person for the key, and links to the description of the API.
PAGE_PATHS = ("/", "/favicon.ico", "/openapi.json")
READING = ("GET", "HEAD", "OPTIONS")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_GONE = 499  # as nginx logs it
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Gatekeeper:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        api_key: key that requests must carry; None refuses requests that do not come for a loopback host.
        max_body: largest body, in bytes.
        metrics: counts requests.
    """

    def __init__(self, app: ASGIApp, api_key: str | None, max_body: int, metrics: ServiceMetrics):
        self.app, self.api_key, self.max_body, self.metrics = app, api_key, max_body, metrics

    @property
    def _too_long(self) -> str:
        return f"the body is too long; at most {self.max_body:,} bytes"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        start, status = time.perf_counter(), 0

        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body:
                raise HTTPException(413, self._too_long)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = MutableHeaders(scope=message)
                own["x-request-id"] = request_id
                if "run" in state:
                    own["x-run"] = state["run"]
                for name, value in SECURITY_HEADERS.items():
                    own.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    own.setdefault("cache-control", "no-store")
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is None:
                await self.app(scope, receive_limited, send_with_headers)
            else:
                await _refuse(send_with_headers, *refusal)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            LOG.exception("a request failed", extra={"event": "request_failed", "id": request_id})
            if not status:
                line = f"internal error; the log has more under the request id {request_id}"
                await _refuse(send_with_headers, 500, line)
        finally:
            self._record(scope, state, status or CLIENT_GONE, time.perf_counter() - start)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and reason if the request may not pass."""
        if scope["path"] in OPEN_PATHS:
            return None
        host = headers.get("host", "")
        if self.api_key is None:
            # A page of another site can point its own host name at this machine (DNS rebinding).
            if not is_loopback(_hostname(host)):
                return 403, "without an API key the service answers only requests for localhost"
        elif not _is_page(scope["path"]) and not _same_key(self.api_key, headers):
            return 401, "the API key is missing or wrong; send it as `Authorization: Bearer KEY`"
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in READING and _netloc(origin) != host:
            return 403, "requests from pages of other sites are not allowed"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self.max_body:
            return 413, self._too_long
        return None

    def _record(self, scope: Scope, state: dict[str, object], status: int, seconds: float) -> None:
        # A path may hold a user's name, so only its template is logged.
        route = getattr(scope.get("route"), "path", "other").replace(":path}", "}")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        level = logging.DEBUG if route in (*OPEN_PATHS, "/metrics") and status < 400 else logging.INFO
        LOG.log(
            level,
            "request",
            extra={
                "event": "request",
                "id": state["request_id"],
                "route": route,
                "method": method,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "run": state.get("run"),
                "pairs": state.get("pairs"),
            },
        )


def _is_page(path: str) -> bool:
    return path in PAGE_PATHS or path.startswith("/static/")


def _netloc(origin: str) -> str:
    """Return host and port of an Origin header; empty if it cannot be read."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _same_key(key: str, headers: Headers) -> bool:
    """Return whether the request carries the key, as a bearer token or in X-API-Key."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    offered = value if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return hmac.compare_digest(offered.strip().encode(), key.encode())


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="gavamoe"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": reason}).encode()})
