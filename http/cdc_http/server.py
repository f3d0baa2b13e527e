"""Requests that are still in progress when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cdc_daemon.model.errors import ConfigError
from cdc_http.connections.protocol import Connection, ConnectionLimits
from cdc_http.connections.unix_listener import listen_for_own_user
from cdc_http.responses import NO_STORE, JsonResponse

_STOP_SECONDS = 5.0
"""Seconds that a stop waits for requests in progress before it interrupts them."""

_INTERRUPTION_SECONDS = 2
"""Seconds that interrupted requests may take to answer."""

_BACKLOG = 128


class _Server(uvicorn.Server):
    """uvicorn's server with a limit of `handshake_timeout` seconds on a TLS handshake."""

    def __init__(self, config: uvicorn.Config, *, handshake_timeout: float) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self._handshake_timeout = handshake_timeout

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but with our handshake timeout instead of asyncio's minute; then set `listening`."""
        config = self.config
        loop = asyncio.get_running_loop()
        seconds = None if config.ssl is None else self._handshake_timeout
        self.servers = [
            await (loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server)(
                self._connection,
                sock=listener,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
            for listener in sockets or ()
        ]
        self.started = True
        self.listening.set()

    def _connection(self) -> asyncio.Protocol:
        connection: type[Any] = self.config.http_protocol_class
        made: asyncio.Protocol = connection(config=self.config, server_state=self.server_state, app_state={})
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon, which stops other parts as well."""
        yield


class HttpServer:
    """Serves an application from `start` to `stop`, as a task of the running loop; encrypted with a TLS `context`.

    It listens on `path`, a Unix socket for processes of the same user, or else on `host` and `port`. `setting` is the
    configuration key of the port, for error messages.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str = "",
        port: int = 0,
        path: Path | None = None,
        context: ssl.SSLContext | None = None,
        limits: ConnectionLimits | None = None,
        setting: str = "http.port",
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        limits = limits or ConnectionLimits()
        self._swappable = SwappableApp(app)
        self._app = Interruptible(self._swappable)
        self._connections = Connection.within(limits)
        self._stop_seconds = stop_seconds
        self._host = host
        self._port = port
        self._path = path
        self._setting = setting
        self._server = _Server(
            uvicorn.Config(
                self._app,
                http=self._connections,
                timeout_keep_alive=math.ceil(limits.idle_timeout),
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                # Usage is counted by address, and a caller could claim another address in each request.
                proxy_headers=False,
                timeout_graceful_shutdown=math.ceil(stop_seconds) + _INTERRUPTION_SECONDS,
                ssl_context_factory=None if context is None else lambda _config, _default: context,
            ),
            handshake_timeout=limits.head_timeout,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port of the listener: after `start` the real one, also when 0 was configured."""
        return self._port

    async def start(self) -> None:
        """Start the server; return as soon as it answers requests.

        Raises `ConfigError` when it cannot listen on the address, and `OSError` when it cannot on the Unix socket.
        """
        assert self._task is None, "a server is started once"
        if self._path is not None:
            listener = listen_for_own_user(self._path)
        else:
            listener = _listen(self._host, self._port, self._setting)
            self._port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._server.serve(sockets=[listener]), name="http")
        listening = loop.create_task(self._server.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            listener.close()
            await self._task

    def change(self, app: ASGIApp, limits: ConnectionLimits) -> None:
        """Answer new requests by another application, within other limits. Requests in progress are not interrupted."""
        self._swappable.app = app
        self._connections.change_limits(limits)

    async def stop(self) -> None:
        """Stop listening and wait a few seconds for the requests in progress; then interrupt them.

        Does nothing unless started.
        """
        if self._task is None:
            return
        self._server.should_exit = True
        interrupting = asyncio.get_running_loop().call_later(self._stop_seconds, self._app.interrupt)
        try:
            await self._task
        finally:
            interrupting.cancel()


def try_listening(host: str, port: int, setting: str = "http.port") -> None:
    """Check that an address can be listened on. `setting` is the configuration key of the port.

    Raises `ConfigError` when it cannot.
    """
    _listen(host, port, setting).close()


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        section, _, _ = setting.rpartition(".")
        raise ConfigError(
            "expected an address to listen on, found "
            + ("that another process listens there" if taken else (error.strerror or str(error)).lower()),
            hint=f"choose another {setting}, or end the other process"
            if taken
            else f"correct {section}.host and {setting}",
            host=host,
            port=port,
        ) from error
    # asyncio sets this only for sockets that name their protocol, and without it an answer's body waits for the
    # acknowledgement of its head: 40 ms of every request.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.settimeout(0)
    return listener


log = structlog.get_logger(__name__)

_HEADERS = {**NO_STORE, "retry-after": "5", "connection": "close"}


class SwappableApp:
    """An application in front of another one, which can be replaced between two requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request by the present application."""
        await self.app(scope, receive, send)


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
            await JsonResponse({"error": "The daemon is stopping."}, 503, headers=_HEADERS)(scope, receive, send)
        finally:
            self._requests.discard(task)
