"""Live status as server-sent events, computed once for all viewers.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cdc_daemon.values.messages import json_bytes
from cdc_http.daemon_view import DaemonView
from cdc_http.responses import NO_STORE, JsonResponse, wait_for_disconnect

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0
"""Seconds between two reads of the daemon's status."""

HEARTBEAT_SECONDS = 5.0
"""Seconds without a change after which a beat is sent: a viewer can tell an idle daemon from a lost connection."""

MAX_VIEWERS = 32

_RETRY_MILLISECONDS = 2000
_LAST_SECONDS = 1.0
_HEADERS = {**NO_STORE, "x-accel-buffering": "no", "x-content-type-options": "nosniff"}
_BUSY = {**NO_STORE, "retry-after": "10"}


class StatusStream:
    """A stream for each viewer: `status` and `trend` when they have changed, `beat` when they have not.

    There are no queues: a slow viewer misses intermediate states. Without viewers nothing is computed.
    """

    def __init__(
        self,
        daemon: DaemonView,
        *,
        most: int = MAX_VIEWERS,
        pause: float = PAUSE_SECONDS,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._daemon = daemon
        self._most = most
        self._pause = pause
        self._heartbeat = heartbeat
        self._status = b""
        self._trend = b""
        self._changed = asyncio.Event()
        self.ended = asyncio.Event()
        self.viewers = 0
        self._no_viewers = asyncio.Event()
        self._no_viewers.set()
        self._reader: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """Return the routes of the status and of the stream."""
        return [
            Route("/status", self._answer_once),
            Route("/status/all", self._answer_all),
            Route("/events", self._answer_stream),
        ]

    async def _answer_once(self, _request: Request) -> Response:
        return JsonResponse(dict(self._daemon.status()), headers=NO_STORE)

    async def _answer_all(self, _request: Request) -> Response:
        return JsonResponse({"daemons": list(await self._daemon.statuses())}, headers=NO_STORE)

    async def _answer_stream(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type="text/event-stream")
        return _Stream(self)

    def enter(self) -> bool:
        """Add a viewer; return False when the limit is reached or the events have ended."""
        if self.ended.is_set() or self.viewers >= self._most:
            return False
        self.viewers += 1
        self._no_viewers.clear()
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_status(), name="events")
        return True

    def leave(self) -> None:
        """Remove a viewer."""
        self.viewers -= 1
        if not self.viewers:
            self._no_viewers.set()
            if self._reader is not None:
                self._reader.cancel()
                self._reader = None
            self._status = self._trend = b""

    async def stream(self, send: Send) -> None:
        """Send the events to one viewer, without end."""
        async for message in self._messages():
            await send({"type": "http.response.body", "body": message, "more_body": True})

    async def close(self) -> None:
        """End all streams and accept no new ones. A stopping server would otherwise wait for them."""
        self.ended.set()
        await self._no_viewers.wait()

    async def _messages(self) -> AsyncIterator[bytes]:
        yield b"retry: %d\n\n" % _RETRY_MILLISECONDS
        status = trend = b""
        while True:
            changed = self._changed
            if trend != self._trend:
                trend = self._trend
                yield b"event: trend\ndata: %b\n\n" % trend
            if status != self._status:
                status = self._status
                yield b'event: status\ndata: {"at":%.3f,"status":%b}\n\n' % (time.time(), status)
            try:
                async with asyncio.timeout(self._heartbeat):
                    await changed.wait()
            except TimeoutError:
                yield b"event: beat\ndata: %.3f\n\n" % time.time()

    async def _read_status(self) -> None:
        while True:
            before = self._status, self._trend
            try:
                self._status, self._trend = _plain(self._daemon.status()), _plain(self._daemon.trend())
            except Exception:
                # An error must not end the viewers' streams.
                log.exception("events.failed", every=60.0)
            if before != (self._status, self._trend):
                self._changed.set()
                self._changed = asyncio.Event()
            await asyncio.sleep(self._pause)


class _Stream(Response):
    """An answer that does not end by itself."""

    def __init__(self, events: StatusStream) -> None:
        super().__init__(headers=_HEADERS, media_type="text/event-stream")
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the viewer disconnects or the events end."""
        if not self._events.enter():
            busy = JsonResponse({"error": "The daemon is stopping, or too many clients watch it."}, 503, headers=_BUSY)
            await busy(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_until_over(receive, send)
        finally:
            self._events.leave()

    async def _send_until_over(self, receive: Receive, send: Send) -> None:
        streaming = asyncio.create_task(self._events.stream(send), name="event-stream")
        leaving = asyncio.create_task(wait_for_disconnect(receive), name="event-stream-leaving")
        ending = asyncio.create_task(self._events.ended.wait(), name="event-stream-ending")
        tasks = (streaming, leaving, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            gone = leaving.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not gone:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_LAST_SECONDS):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _plain(value: object) -> bytes:
    return json_bytes(value, option=orjson.OPT_NON_STR_KEYS)
