"""The daemon's listeners: one for callers, and one for probes and metrics that callers cannot occupy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import structlog

from cdc_daemon.config import HttpSettings
from cdc_http import (
    ConnectionLimits,
    DaemonView,
    HttpServer,
    ReloadingTlsContext,
    StatusStream,
    create_app,
    create_health_app,
)

log = structlog.get_logger(__name__)

_HEALTH_CONNECTIONS = 64
"""For the kubelet and some Prometheus servers. Idle ones are closed for new ones."""


@asynccontextmanager
async def serving(daemon: DaemonView, settings: HttpSettings) -> AsyncIterator[None]:
    """Listen on the configured ports during a block. Raises `ConfigError`."""
    async with AsyncExitStack() as stack:
        if settings.enabled and settings.health_port is not None:
            await stack.enter_async_context(_health(daemon, settings, settings.health_port))
        if settings.listens:
            await stack.enter_async_context(_callers(daemon, settings))
        yield


@asynccontextmanager
async def _health(daemon: DaemonView, settings: HttpSettings, port: int) -> AsyncIterator[None]:
    limits = ConnectionLimits(
        connections=_HEALTH_CONNECTIONS,
        reserved=0,
        head_timeout=settings.head_timeout,
        idle_timeout=settings.idle_timeout,
    )
    server = HttpServer(
        create_health_app(daemon), host=settings.host, port=port, limits=limits, setting="http.health_port"
    )
    await server.start()
    log.info("http.health_listening", host=settings.host, port=server.port)
    try:
        yield
    finally:
        with suppress(asyncio.CancelledError):
            await server.stop()


@asynccontextmanager
async def _callers(daemon: DaemonView, settings: HttpSettings) -> AsyncIterator[None]:
    assert settings.port is not None
    tls = None if settings.tls is None else ReloadingTlsContext(settings.tls)
    context = None if tls is None else tls.context
    limits = ConnectionLimits(
        connections=settings.max_connections, head_timeout=settings.head_timeout, idle_timeout=settings.idle_timeout
    )
    events = StatusStream(daemon)
    app = create_app(daemon, settings, events=events)
    server = HttpServer(app, host=settings.host, port=settings.port, context=context, limits=limits)
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
