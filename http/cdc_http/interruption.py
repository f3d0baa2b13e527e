"""Requests that are still in progress when the server stops."""

from __future__ import annotations

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_http.answer import NO_STORE, Json

log = structlog.get_logger(__name__)

_HEADERS = {**NO_STORE, "retry-after": "5", "connection": "close"}


class Interruptible:
    """Wraps an application whose requests can be interrupted.

    An interrupted request is answered with 503. When its answer has begun already, its connection is closed. Without
    this, uvicorn would log the cancellation as an error of the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: set[asyncio.Task[None]] = set()

    def interrupt(self) -> None:
        """Interrupt every request in progress."""
        for task in self._requests:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        task = asyncio.current_task()
        assert task is not None
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        self._requests.add(task)
        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if begun:
                raise
            log.info("http.interrupted", path=scope["path"][:256])
            await Json({"error": "The daemon is stopping."}, 503, headers=_HEADERS)(scope, receive, send)
        finally:
            self._requests.discard(task)
