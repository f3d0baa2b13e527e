"""Log each request as an event, and add the request's ids to every event that is logged while it runs."""

from __future__ import annotations

import re
import time
from typing import Any

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_http.contract import message_id

log = structlog.get_logger(__name__)

ROUTINE = frozenset({"/", "/events", "/livez", "/readyz", "/metrics", "/status", "/openapi.yaml", "/runbook"})
"""Paths that are requested all the time: logged at debug level unless they fail. Not being ready is no failure."""

_LONGEST_PATH = 256
_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
"""`traceparent` (W3C Trace Context, 3.2): version, trace id, parent id, flags; later versions may append."""


class AccessLog:
    """Wraps an application and logs one event for each request.

    The event has the path without its query. Of the headers it has only the message id and the trace context.
    `Authorizer` adds the token's owner. No part of the token is logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        status = size = 0

        async def watched(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(msgid=message_id(request), **_trace(request)):
            try:
                await self._app(scope, receive, watched)
            finally:
                write = _level(scope["method"], scope["path"], status)
                write(
                    "http.request",
                    method=scope["method"],
                    path=scope["path"][:_LONGEST_PATH],
                    status=status or None,
                    seconds=round(time.monotonic() - began, 6),
                    size=size,
                    client=None if request.client is None else request.client.host,
                    **scope.get(DETAILS, {}),
                )


DETAILS = "cdc_http.details"
"""Key of the scope under which a request's handlers leave further fields of its event."""


def note(request: Request, **details: Any) -> None:
    """Add fields to the request's event."""
    request.scope.setdefault(DETAILS, {}).update(details)


def _level(method: str, path: str, status: int) -> Any:
    # A daemon that is not ready logs the reason in its own events, and a probe comes every few seconds.
    not_ready = path == "/readyz" and status == 503
    if (not status or status >= 500) and not not_ready:
        return log.warning
    followed = method == "GET" and path.startswith("/admin/jobs/")  # a command polls its job every few seconds
    return log.debug if followed or path in ROUTINE or path.startswith("/static/") else log.info


def _trace(request: Request) -> dict[str, str]:
    found = _PARENT.fullmatch(request.headers.get("traceparent", ""))
    if found is None or found[0].startswith("ff") or (found[0].startswith("00") and found[3]):
        return {}
    return {"trace_id": found[1], "span_id": found[2]}
