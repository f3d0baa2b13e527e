"""Runs the daemon's parts, and composes them anew with another configuration or after a table was created again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from cdc_daemon.app.composition import Composition, compose
from cdc_daemon.app.part import Context
from cdc_daemon.app.startup import wait_after
from cdc_daemon.config import Settings
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import ConfigError, StoreError
from cdc_daemon.pipeline.gate import Pause

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 10.0
"""Drain timeout in seconds. Unacknowledged changes are replayed by the next parts, or after the restart."""


_STATE = "state directory"
"""What a start waits for while its database cannot be written."""


class SupersededError(ConfigError):
    """Another configuration was given before the parts ran with this one."""


@dataclass(slots=True)
class _Wanted:
    settings: Settings
    running: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Generations:
    """The parts that run now, one composition after the other.

    `settings` are those of the parts that ran last. `composition` is None while none accepts work. The checkpoint is
    kept by the store, so the next parts read again what the previous ones did not acknowledge: the change from one to
    the next loses as little as a restart.
    """

    def __init__(self, settings: Settings, make_context: Callable[[Settings], Context]) -> None:
        self.settings = settings
        self.composition: Composition | None = None
        self.stopping = False
        self._make_context = make_context
        self._wanted: _Wanted | None = None
        self._latest: _Wanted | None = None
        self._given = asyncio.Event()
        self._pause: Pause | None = None

    async def replace(self, settings: Settings) -> None:
        """Run the parts with other settings; return when they run, which may wait for servers.

        While the search engine takes no writes, the present parts go on, unless the settings name another one.

        Raises `ConfigError` if they cannot: then the parts run with the previous settings again. Raises
        `SupersededError` after a later call.
        """
        wanted = _Wanted(settings)
        self._supersede(self._latest)
        self._latest = wanted
        await self._wait_writable(wanted)
        if not wanted.running.done():
            self._wanted = wanted
            self._given.set()
        await wanted.running

    async def _wait_writable(self, wanted: _Wanted) -> None:
        """Wait until the search engine takes writes, unless another one is wanted, or until a later call.

        A start waits for the search engine and does not spool, so the present parts go on during an outage.
        """
        parts = self.composition
        if parts is None or wanted.settings.elasticsearch != self.settings.elasticsearch:
            return
        available = asyncio.ensure_future(parts.search.writer.wait_available())
        try:
            await asyncio.wait({available, wanted.running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            available.cancel()

    async def run(self) -> None:
        """Run until the log has drained after `stopping` was set, or until cancelled.

        Raises the error of a part that fails, and `ConfigError` if the first settings do not fit the servers.
        """
        wanted: _Wanted | None = None
        while True:
            again = await self._run_once(wanted)
            wanted, self._wanted = self._wanted, None
            if self.stopping or not (again or wanted):
                return

    async def _run_once(self, wanted: _Wanted | None) -> bool:
        """Run one composition; return whether to go on with another one."""
        settings = self.settings if wanted is None else wanted.settings
        self._given.clear()
        running = asyncio.create_task(self._compose_and_run(settings, wanted), name="parts")
        given = asyncio.create_task(self._given.wait(), name="configuration")
        try:
            await asyncio.wait({running, given}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await self._end(running)
                self._supersede(wanted)
            if running.cancelled():
                return True
            return await running
        finally:
            for task in (running, given):
                task.cancel()
            await asyncio.gather(running, given, return_exceptions=True)

    async def _end(self, running: asyncio.Task[bool]) -> None:
        """Drain the parts, or give up a start that waits for a server."""
        parts, self.composition = self.composition, None
        if parts is None:
            running.cancel()
        else:
            log.info("daemon.draining", seconds_at_most=DRAIN_SECONDS)
            await parts.drain(DRAIN_SECONDS)
        await asyncio.wait({running})

    async def _compose_and_run(self, settings: Settings, wanted: _Wanted | None) -> bool:
        started = False
        backoff = Backoff(first=0.2)
        while True:
            context = self._make_context(settings)
            try:
                async with compose(context) as parts:
                    started = True
                    context.report_wait(_STATE, None)
                    return await self._run_parts(parts, settings, wanted)
            except ConfigError as error:
                if started or wanted is None:
                    raise
                if not wanted.running.done():
                    wanted.running.set_exception(error)
                return True  # with the previous settings
            except StoreError as error:
                if started:
                    raise
                # Somebody may free the disk meanwhile.
                await wait_after(error, _STATE, backoff, context.report_wait)

    async def _run_parts(self, parts: Composition, settings: Settings, wanted: _Wanted | None) -> bool:
        if self._pause is not None:  # an operator's pause outlives the parts
            parts.pipeline.gate.close(self._pause)
        self.settings = settings
        self.composition = parts
        if wanted is not None and not wanted.running.done():
            wanted.running.set_result(None)
        log.info("daemon.running", tables=[str(table) for table in parts.tables.shown])
        rekeyed = await parts.run() and not self.stopping
        self._pause = parts.pipeline.gate.pause
        if rekeyed:
            self.composition = None
            log.warning("daemon.assembled_anew", hint="a table that mappings show was created again")
        return rekeyed

    @staticmethod
    def _supersede(wanted: _Wanted | None) -> None:
        if wanted is not None and not wanted.running.done():
            wanted.running.set_exception(SupersededError("another configuration was given before this one ran"))
