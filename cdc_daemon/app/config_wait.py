"""Keeps the process alive while its configuration is wrong, and runs the daemon when it is right.

In a pod with Cassandra an exit has a price: the pod is not ready while the container waits to be restarted.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from cdc_daemon.app.serving import serving_health
from cdc_daemon.config import HttpSettings, LogSettings, Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.telemetry import logs
from cdc_daemon.telemetry.metrics import Metrics
from cdc_http import LoopState

log = structlog.get_logger(__name__)

READ_SECONDS = 2.0
"""Seconds between two reads of the configuration."""

RETRY_SECONDS = 30.0
"""Seconds after which the daemon starts again with an unchanged configuration: a server's answer may have changed."""

_SAID_AGAIN = 60.0

Load = Callable[[], Settings]
"""Reads the configuration. Raises `ConfigError`."""

Run = Callable[[Settings], Coroutine[Any, Any, int]]
"""Runs the daemon until it stops. Raises `ConfigError` if the configuration does not fit the servers or the files."""


class ConfigWait:
    """Runs the daemon each time the configuration can be used, and waits while it cannot.

    While it waits, `/livez`, `/readyz` and `/metrics` are served on `health_port`, or else on the configured
    `http.health_port`. A running daemon keeps its configuration, whatever the file becomes.
    """

    def __init__(
        self,
        load: Load,
        run: Run,
        *,
        health_port: int | None = None,
        read_seconds: float = READ_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._load = load
        self._run = run
        self._health_port = health_port
        self._read_seconds = read_seconds
        self._retry_seconds = retry_seconds
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until the daemon has stopped, or until a signal while it waits; return the exit code."""
        logs.configure(LogSettings())
        while True:
            settings = None
            try:
                settings = await asyncio.to_thread(self._load)
                logs.configure(settings.log)
                if not self._stop.is_set():  # a signal may come after the wait, before the daemon handles them
                    return await self._run(settings)
            except ConfigError as error:
                await self._wait(error, settings)
            if self._stop.is_set():
                log.info("daemon.stopped")
                return 0

    async def _wait(self, error: ConfigError, settings: Settings | None) -> None:
        """Wait until a new start is worthwhile, or until the process is asked to stop.

        `settings` are those that a start failed with, or None if the file itself cannot be used.
        """
        self._handle_signals()
        async with self._serving(settings):
            _report(error)
            waited = 0.0
            while not await self._is_stopped():
                waited += self._read_seconds
                try:
                    found = await asyncio.to_thread(self._load)
                except ConfigError as newer:
                    settings = None
                    _report(newer)
                    continue
                if found != settings or waited >= self._retry_seconds:
                    return

    async def _is_stopped(self) -> bool:
        try:
            async with asyncio.timeout(self._read_seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def _serving(self, settings: Settings | None) -> AsyncIterator[None]:
        http = HttpSettings() if settings is None else settings.http
        host = "0.0.0.0" if settings is None else http.host  # noqa: S104 -- as the manifests configure it
        port = self._health_port or http.health_port
        async with AsyncExitStack() as stack:
            if port is None:
                log.warning("http.health_missing", hint="set --health-port, so that probes are answered")
            else:
                try:
                    await stack.enter_async_context(serving_health(_WaitingHealth(), http, port=port, host=host))
                except ConfigError as error:
                    log.error("http.health_failed", error=error)  # noqa: TRY400 -- the error says what is wrong
            yield

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            loop.add_signal_handler(number, _ignore, number)


class _WaitingHealth:
    """The health of a process that waits for its configuration: alive, not ready."""

    def __init__(self) -> None:
        self._metrics = Metrics()

    @property
    def registry(self) -> CollectorRegistry:
        return self._metrics.registry

    def measure(self) -> None:
        pass

    def livez(self) -> Mapping[str, LoopState]:
        return {}

    def readyz(self) -> Mapping[str, bool]:
        return {"started": False, "configuration_valid": False}


def _report(error: ConfigError) -> None:
    log.error(
        "daemon.configuration_wrong",
        error=error,
        hint=error.hint or "correct the configuration: the daemon starts when it is right",
        every=_SAID_AGAIN,
        every_key=str(error),
    )


def _ignore(number: signal.Signals) -> None:
    log.warning("daemon.signal_ignored", signal=number.name, hint="the daemon waits for its configuration")
