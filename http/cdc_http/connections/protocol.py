"""One connection, with limits on its number and its waiting times.

uvicorn limits only the idle time after a response. Without further limits, a client that sends its headers byte by
byte, or does not read its response, could keep a connection open for ever.

`H11Protocol` and `FlowControl` are importable but undocumented. So pyproject.toml has an upper bound for uvicorn, and a
test notices when a member that is overridden here changes its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from cdc_http.connections.slots import ConnectionSlots, network_of
from cdc_http.connections.strict_h11 import StrictH11

log = structlog.get_logger(__name__)

_LOG_INTERVAL = 30.0
"""Seconds between two log events about refused connections."""

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""The paths that Kubernetes and Prometheus request."""

_NO_ROOM = Response(status_code=503, headers={"retry-after": "1"})


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of connections: their number, and timeouts in seconds.

    Beyond `connections`, `reserved` further ones may request `reserved_paths` only, so that strangers cannot block the
    probes. `head_timeout` is for a request's line and headers, from the first byte on, and for a TLS handshake
    before them. `idle_timeout` is how long a connection may wait for its first or its next request. `answer_timeout`
    is how long a caller may leave an answer unread.
    """

    connections: int = 512
    reserved: int = 16
    reserved_paths: frozenset[str] = PROBES
    head_timeout: float = 10.0
    idle_timeout: float = 65.0
    answer_timeout: float = 30.0


class Connection(H11Protocol):
    """A connection as uvicorn serves it, within `limits`."""

    limits = ConnectionLimits()
    regular = ConnectionSlots(limits.connections)
    reserve = ConnectionSlots(limits.reserved)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._address = ""
        self._slots = self.regular
        self.conn: StrictH11 = StrictH11()
        self._going_on = False
        self._idle = _Timer(self.loop)
        self._head = _Timer(self.loop)
        self._answer = _Timer(self.loop)

    @classmethod
    def within(cls, limits: ConnectionLimits) -> type[Connection]:
        """Return the connection class of one server; uvicorn creates connections from a class."""
        slots = {"regular": ConnectionSlots(limits.connections), "reserve": ConnectionSlots(limits.reserved)}
        return type(cls.__name__, (cls,), {"limits": limits, **slots})

    @classmethod
    def change_limits(cls, limits: ConnectionLimits) -> None:
        """Change the limits of one server, for new connections and for the next waits of open ones."""
        cls.limits = limits
        cls.regular.resize(limits.connections)
        cls.reserve.resize(limits.reserved)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's does
        """Accept a connection, or refuse it when there is no slot."""
        super().connection_made(transport)
        self.flow: HoldableFlow = HoldableFlow(transport)
        self._address = network_of(self.client)
        idle_timeout = self.limits.idle_timeout
        if not self.regular.take(self, self._address):
            log.warning("http.too_many_connections", connections=self.limits.connections, every=_LOG_INTERVAL)
            self._slots = self.reserve
            if not self.reserve.take(self, self._address):
                self._refuse(503, (b"retry-after", b"1"))
                return
            self.app = _Reserved(self.app, self.limits.reserved_paths)
            idle_timeout = min(idle_timeout, self.limits.head_timeout)
        self._idle.start(idle_timeout, self._close)

    def give_up_slot(self) -> None:
        """Close the connection to free its slot; refuse a request that has only partly arrived."""
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(503, (b"retry-after", b"1"))
        else:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        super().connection_lost(exc)
        self._slots.free(self, self._address)
        for timer in (self._idle, self._head, self._answer):
            timer.stop()

    def data_received(self, data: bytes) -> None:
        """Handle received bytes; a head must be complete in time."""
        if self.transport.is_closing():
            return
        self._idle.stop()
        self.conn.begin_round()
        super().data_received(data)
        self._watch_head()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's name and text, for any refusal
        """Answer an invalid request with the matching status, and close."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._refuse(self.conn.refusal)
        else:
            # The answer has begun: a second one cannot be sent.
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request; its first bytes may have arrived already."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._answer.start(self.limits.answer_timeout, self.transport.abort)
        self._watch_head()

    def handle_events(self) -> None:
        """Handle the received events; at most a part of them in one iteration of the event loop."""
        super().handle_events()
        if self.conn.held and not self._going_on:
            self._going_on = True
            self.flow.hold()
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        self.flow.release()
        if self.transport.is_closing():
            return
        self.conn.begin_round()
        self.handle_events()
        if not self._going_on:
            self._watch_head()

    def pause_writing(self) -> None:
        """Start the timeout within which the caller must read what was sent."""
        super().pause_writing()
        self._answer.start(self.limits.answer_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timeout for the caller to read."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._answer.stop()

    def _watch_head(self) -> None:
        """Limit the time in which a begun request must be complete; further bytes do not extend it.

        The limit also applies to the rest of a body whose request is answered already. While a request is in progress,
        the application waits for its body.
        """
        cycle: RequestResponseCycle | None = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering:
            self._slots.mark_busy(self, self._address)
        else:
            self._slots.mark_idle(self, self._address)
        begun = bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.SEND_BODY
        if answering or not begun or self.transport.is_closing():
            self._head.stop()
        else:
            if self.timeout_keep_alive_task is not None:
                self.timeout_keep_alive_task.cancel()
                self.timeout_keep_alive_task = None
            self._head.start(self.limits.head_timeout, self._end_head)

    def _end_head(self) -> None:
        if self.conn.our_state is h11.IDLE:
            self._refuse(408)
        else:
            self.transport.abort()

    def _refuse(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """Answer an incomplete request with a status, and close."""
        closing = [(b"content-length", b"0"), (b"connection", b"close"), *headers]
        self.transport.write(self.conn.send(h11.Response(status_code=status, headers=closing)) or b"")
        self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self._close()

    def _close(self) -> None:
        """Close the connection once the caller has read the rest of its answer, or after the timeout."""
        self._answer.start(self.limits.answer_timeout, self.transport.abort)
        self.transport.close()


class _Reserved:
    """An application on a reserved connection: one answer, to one of a few paths."""

    def __init__(self, app: Any, paths: frozenset[str]) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        served = scope["path"] in self._paths
        await (self._app if served else _NO_ROOM)(scope, receive, send_and_close)


class HoldableFlow(FlowControl):
    """Flow control that reads nothing while it is held, because received data is still being handled."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._held = False
        self._unwanted = False

    def hold(self) -> None:
        """Stop reading."""
        self._unwanted = self.read_paused
        super().pause_reading()
        self._held = True

    def release(self) -> None:
        """Resume reading, unless reading was paused while it was held."""
        self._held = False
        if not self._unwanted:
            super().resume_reading()

    def pause_reading(self) -> None:
        """Stop reading."""
        if self._held:
            self._unwanted = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Resume reading, or do so on release while it is held."""
        if self._held:
            self._unwanted = False
        else:
            super().resume_reading()


class _Timer:
    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float, action: Callable[[], None]) -> None:
        """Call the action after some seconds unless stopped before; a running timer is not restarted."""
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, action)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
