"""The daemon's listeners: for callers, for commands on this host, and for probes that callers cannot occupy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog

from cdc_daemon.config import HttpSettings, PeerSettings
from cdc_daemon.model.control_socket import CONTROL_SOCKET
from cdc_http import (
    ConnectionLimits,
    DaemonView,
    HealthView,
    HttpServer,
    ReloadingTlsContext,
    StatusStream,
    create_app,
    create_control_app,
    create_health_app,
    create_peer_app,
)

log = structlog.get_logger(__name__)

_HEALTH_CONNECTIONS = 64
"""For the kubelet and some Prometheus servers. Idle ones are closed for new ones."""

_CONTROL_CONNECTIONS = 64
"""For the commands of operators and their scripts. Idle ones are closed for new ones."""

_NO_PEERS = PeerSettings()

_PEER_CONNECTIONS = 1024
"""For two connections of each daemon in a datacenter of some hundred nodes. Idle ones are closed for new ones."""

_PEER_HEAD_SECONDS = 5.0
"""Seconds that a peer has to send the head of its question."""


Prepare = Callable[[HttpSettings], Callable[[], None]]
"""Makes a listener ready for other settings; returns the function that puts them to use. Raises `ConfigError`."""


class Listeners:
    """The running listeners. Their addresses stay; tokens, limits and certificates can change."""

    def __init__(self) -> None:
        self._all: list[Prepare] = []

    def add(self, prepare: Prepare) -> None:
        """Add a listener."""
        self._all.append(prepare)

    def prepare(self, settings: HttpSettings) -> Callable[[], None]:
        """Make all listeners ready for other settings; return the function that puts them to use.

        Raises `ConfigError`; then nothing has changed.
        """
        ready = [prepare(settings) for prepare in self._all]

        def use() -> None:
            for each in ready:
                each()

        return use


@asynccontextmanager
async def serving(
    daemon: DaemonView, settings: HttpSettings, peers: PeerSettings = _NO_PEERS, *, state: Path | None = None
) -> AsyncIterator[Listeners]:
    """Listen on the configured ports, and on the control socket in the `state` directory, during a block.

    Raises `ConfigError`.
    """
    listeners = Listeners()
    async with AsyncExitStack() as stack:
        # First, so that a command never finds an answering port without the socket.
        if state is not None:
            await stack.enter_async_context(_control(daemon, settings, state / CONTROL_SOCKET, listeners))
        if peers.port is not None:
            await stack.enter_async_context(_peers(daemon, peers, peers.port))
        if settings.enabled and settings.health_port is not None:
            await stack.enter_async_context(serving_health(daemon, settings, port=settings.health_port))
        if settings.listens:
            await stack.enter_async_context(_callers(daemon, settings, listeners))
        yield listeners


@asynccontextmanager
async def serving_health(
    daemon: HealthView, settings: HttpSettings, *, port: int, host: str | None = None
) -> AsyncIterator[None]:
    """Serve the probes and the metrics during a block, on `host` or else the configured one. Raises `ConfigError`."""
    host = host or settings.host
    limits = ConnectionLimits(
        connections=_HEALTH_CONNECTIONS,
        reserved=0,
        head_timeout=settings.head_timeout,
        idle_timeout=settings.idle_timeout,
    )
    server = HttpServer(create_health_app(daemon), host=host, port=port, limits=limits, setting="http.health_port")
    await server.start()
    log.info("http.health_listening", host=host, port=server.port)
    try:
        yield
    finally:
        with suppress(asyncio.CancelledError):
            await server.stop()


@asynccontextmanager
async def _control(daemon: DaemonView, settings: HttpSettings, path: Path, listeners: Listeners) -> AsyncIterator[None]:
    """Serve the commands of this user on this host. Without the socket the daemon works, and they need a token."""
    events = StatusStream(daemon)
    limits = ConnectionLimits(connections=_CONTROL_CONNECTIONS, reserved=0)
    server = HttpServer(create_control_app(daemon, settings, events=events), path=path, limits=limits)
    listening = await _start_control(server, path)

    def prepare(newer: HttpSettings) -> Callable[[], None]:
        return partial(server.change, create_control_app(daemon, newer, events=events), limits)

    listeners.add(prepare)
    try:
        yield
    finally:
        if listening:
            _remove(path)
            await events.close()
            with suppress(asyncio.CancelledError):
                await server.stop()


def _remove(path: Path) -> None:
    # Only the holder of the state directory's lock comes here, so the socket is still this daemon's.
    with suppress(OSError):
        path.unlink(missing_ok=True)


async def _start_control(server: HttpServer, path: Path) -> bool:
    try:
        await server.start()
    except OSError as error:
        log.warning(
            "control.unavailable",
            socket=str(path),
            error=error.strerror or str(error),
            hint="commands on this host need --url and --token-file; set state.directory to a local file system that "
            "has Unix sockets",
        )
        return False
    log.info("control.listening", socket=str(path))
    return True


@asynccontextmanager
async def _peers(daemon: DaemonView, settings: PeerSettings, port: int) -> AsyncIterator[None]:
    assert settings.token is not None, "checked with the configuration"
    limits = ConnectionLimits(connections=_PEER_CONNECTIONS, reserved=0, head_timeout=_PEER_HEAD_SECONDS)
    app = create_peer_app(daemon.questions, settings.token.get_secret_value())
    server = HttpServer(app, host=settings.host, port=port, limits=limits, setting="peers.port", stop_seconds=0)
    await server.start()
    log.info("peers.listening", host=settings.host, port=server.port)
    try:
        yield
    finally:
        with suppress(asyncio.CancelledError):
            await server.stop()


@asynccontextmanager
async def _callers(daemon: DaemonView, settings: HttpSettings, listeners: Listeners) -> AsyncIterator[None]:
    assert settings.port is not None
    tls = None if settings.tls is None else ReloadingTlsContext(settings.tls)
    context = None if tls is None else tls.context
    events = StatusStream(daemon)
    app = create_app(daemon, settings, events=events)
    limits = _limits_of(settings)
    server = HttpServer(app, host=settings.host, port=settings.port, context=context, limits=limits)

    def prepare(newer: HttpSettings) -> Callable[[], None]:
        use_app = partial(server.change, create_app(daemon, newer, events=events), _limits_of(newer))
        use_files = None if tls is None or newer.tls is None else tls.prepare(newer.tls)

        def use() -> None:
            use_app()
            if use_files is not None:
                use_files()

        return use

    listeners.add(prepare)
    await server.start()
    log.info("http.listening", host=settings.host, port=server.port, encrypted=tls is not None)
    rotating = None if tls is None else asyncio.create_task(tls.run(), name="certificates")
    try:
        yield
    finally:
        if rotating is not None:
            rotating.cancel()
        await events.close()
        with suppress(asyncio.CancelledError):
            await server.stop()


def _limits_of(settings: HttpSettings) -> ConnectionLimits:
    return ConnectionLimits(
        connections=settings.max_connections, head_timeout=settings.head_timeout, idle_timeout=settings.idle_timeout
    )
