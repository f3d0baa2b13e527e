"""The daemon's process: it takes the lock, serves HTTP, runs the parts, and drains them at a stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from cdc_daemon import __version__
from cdc_daemon.app import garbage
from cdc_daemon.app.composition import Composition
from cdc_daemon.app.config_change import ConfigChange
from cdc_daemon.app.config_files import ConfigFile
from cdc_daemon.app.control import Control
from cdc_daemon.app.generations import DRAIN_SECONDS, Generations
from cdc_daemon.app.part import Context
from cdc_daemon.app.parts.files import FilesPart
from cdc_daemon.app.parts.store import StorePart
from cdc_daemon.app.reload import Reloader
from cdc_daemon.app.serving import serving
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import CdcError
from cdc_daemon.peers.questions import PeerQuestions
from cdc_daemon.sources.log.lock import DaemonLock
from cdc_daemon.sources.log.quarantine import Quarantine
from cdc_daemon.sources.requests import SyncService
from cdc_daemon.sources.requests.jobs import SyncJobRunner
from cdc_daemon.tablejobs.estimate import BackfillEstimator
from cdc_daemon.tablejobs.index_admin import IndexAdmin
from cdc_daemon.tablejobs.runner import RangeJobRunner
from cdc_daemon.telemetry import logs
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.status_brief import list_statuses, shorten_status
from cdc_daemon.telemetry.status_summary import StatusSummary
from cdc_daemon.telemetry.webhook.sender import Webhook
from cdc_http import LoopState

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0

STATUSES_SECONDS = 2.0
"""Seconds for which the statuses of all daemons are not asked again: the question needs no token."""

LATE_SECONDS = 30.0
"""Seconds without a beat after which a loop counts as stuck."""


async def run(settings: Settings, file: Path, *, watch: bool = False) -> int:
    """Run until SIGTERM or SIGINT and return the process's exit code.

    `file` is read again at a reload, which with `watch` also follows each change of it.

    Raises `CdcError` for problems that only an operator can fix: a wrong mapping, an unusable state directory,
    another daemon that uses it.
    """
    garbage.tune()
    return await Daemon(settings, ConfigFile(file), watch=watch).run()


class Daemon:
    """One daemon from start to stop. It is the `DaemonView` of the HTTP surface from the beginning."""

    def __init__(self, settings: Settings, file: ConfigFile | None = None, *, watch: bool = False) -> None:
        self._settings = settings
        self._file = file
        self._watches = watch
        self._files: FilesPart | None = None
        self._webhook: Webhook | None = None
        self._reloading: set[asyncio.Task[Any]] = set()
        self._reloader: Reloader | None = None
        self._generations = Generations(settings, self._make_context)
        self._metrics = Metrics()
        self._metrics.configuration_valid.set(True)
        self._garbage = garbage.CollectorPauses(self._metrics)
        self._summary = StatusSummary(self._metrics, settings.mappings)
        self._waiting: dict[str, str] | None = None
        self._beats: dict[str, float] = {}
        self._stop = asyncio.Event()
        self._started = time.time()
        self._store: StorePart | None = None
        self.node_id = socket.gethostname()
        self.questions = PeerQuestions()
        self._instance = secrets.token_hex(8)
        self.questions.register_json("status", self._short_status)
        self._statuses: asyncio.Task[Sequence[Mapping[str, Any]]] | None = None
        self._statuses_until = 0.0

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the daemon's metrics."""
        return self._metrics.registry

    def measure(self) -> None:
        """Update the metrics that are otherwise exported once a second."""
        if self._generations.composition is not None:
            self._generations.composition.measure()

    @property
    def sync(self) -> SyncService | None:
        """Requests for rows; None while the daemon starts or stops."""
        return None if (parts := self._open_parts()) is None else parts.requests.sync

    @property
    def jobs(self) -> SyncJobRunner | None:
        """Asynchronous requests for rows; None while the daemon starts or stops."""
        return None if (parts := self._open_parts()) is None else parts.requests.jobs

    @property
    def range_jobs(self) -> RangeJobRunner | None:
        """Jobs on whole tables; None while the daemon starts or stops."""
        return None if (parts := self._open_parts()) is None else parts.table_jobs.runner

    @property
    def estimator(self) -> BackfillEstimator | None:
        """Estimates of backfills; None while the daemon starts or stops."""
        return None if (parts := self._open_parts()) is None else parts.table_jobs.estimator

    @property
    def indices(self) -> IndexAdmin | None:
        """The indices behind the aliases; None while the daemon starts or stops."""
        return None if (parts := self._open_parts()) is None else parts.table_jobs.indices

    @property
    def control(self) -> Control | None:
        """An operator's actions; None while the daemon starts or stops."""
        parts = self._open_parts()
        if parts is None or self._store is None:
            return None
        settings = self._generations.settings
        return Control(parts.pipeline.gate, self._store.store, parts.dead_letters.replayer, settings)

    @property
    def reloader(self) -> Reloader | None:
        """Reads the configuration again; None for a daemon without a configuration file."""
        return self._reloader

    def readyz(self) -> Mapping[str, bool]:
        """Return whether requests for rows are accepted, independent of Cassandra's and Elasticsearch's state."""
        return {
            "started": self._generations.composition is not None,
            "not_stopping": not self._stop.is_set(),
            "state_in_place": self._store is None or self._store.lost is None,
        }

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._metrics.http_requests.labels(route, str(status)).inc()
        self._metrics.http_request_duration_seconds.labels(route).observe(seconds)

    def livez(self) -> Mapping[str, LoopState]:
        """Return the state of each loop: whether it has beaten recently."""
        late = time.time() - LATE_SECONDS
        return {name: LoopState(beat, beat > late) for name, beat in self._beats.items()}

    def status(self) -> Mapping[str, Any]:
        """Return the daemon's state and progress, including the measurements of the last second."""
        return {**self._state(), **self._summary.show()}

    async def statuses(self) -> Sequence[Mapping[str, Any]]:
        """Return short statuses of this daemon and of all others. They are asked at most every other second."""
        now = time.monotonic()
        if self._statuses is None or (self._statuses.done() and now > self._statuses_until):
            self._statuses = asyncio.create_task(self._ask_statuses(), name="statuses")
            self._statuses_until = now + STATUSES_SECONDS
        return await asyncio.shield(self._statuses)

    async def _ask_statuses(self) -> Sequence[Mapping[str, Any]]:
        parts = self._generations.composition
        others = await parts.peers.ask_all_json("status") if parts is not None and parts.peers.asks else {}
        return list_statuses(self._short_status(), others)

    def _short_status(self) -> Mapping[str, Any]:
        return shorten_status(self.status(), self._instance)

    def trend(self) -> Mapping[str, Any]:
        """Return the last hour of freshness, backlog and similar measures."""
        return self._summary.trend()

    async def run(self) -> int:
        """Run until asked to stop; see the module's `run`."""
        self._handle_signals()
        state = self._settings.state.directory
        async with AsyncExitStack() as stack:
            stack.enter_context(DaemonLock(state=state, folder=_folder_of(self._settings)))
            stack.enter_context(self._garbage.measuring())
            counted = self._summary.count
            self._store = stack.enter_context(StorePart.open(state, self._metrics, counted=counted))
            listeners = await stack.enter_async_context(
                serving(self, self._settings.http, self._settings.peers, state=state)
            )
            if self._file is not None:
                self._reloader = Reloader(
                    self._file, self._generations, listeners, self._metrics, applied=self._take_change
                )
            log.info("daemon.started", version=__version__, process=os.getpid(), state_directory=str(state))
            await self._work(self._store)
        log.info("daemon.stopped")
        return 0

    async def _work(self, store: StorePart) -> None:
        """Wait for servers, then run the parts until the stop or until one of them fails.

        The store and the files are watched from the beginning: a start may wait long for a server.
        """
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        self._files = FilesPart(self._settings, self._metrics)
        self._webhook = Webhook(
            self._settings.webhook,
            self._metrics,
            node=self.node_id,
            status=self.status,
            quarantined=len(Quarantine(self._settings.state.directory).segments()),
        )
        working = asyncio.create_task(self._generations.run(), name="work")
        running = [
            working,
            asyncio.create_task(self._keep_beating(), name="beat"),
            asyncio.create_task(self._webhook.run(), name="webhook"),
            *(asyncio.create_task(part.run(), name=part.name) for part in (store, self._files)),
        ]
        if self._reloader is not None and self._watches:
            running.append(asyncio.create_task(self._reloader.watch(), name="configuration"))
        try:
            await asyncio.wait([stopping, *running], return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set() and self._generations.composition is not None and not working.done():
                log.info("daemon.draining", seconds_at_most=DRAIN_SECONDS)
                await self._generations.composition.drain(DRAIN_SECONDS)
        finally:
            for task in (stopping, *running, *self._reloading):
                task.cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise _cause_of(result)

    def _open_parts(self) -> Composition | None:
        """Return the parts that serve callers; None while the daemon starts or stops."""
        return None if self._stop.is_set() else self._generations.composition

    def _make_context(self, settings: Settings) -> Context:
        assert self._store is not None, "the store is opened before the parts"
        store = self._store.store
        return Context(settings, store, self._metrics, self._beat, self._report_wait, questions=self.questions)

    def _take_change(self, change: ConfigChange) -> None:
        """Show the configuration that is in use from now on."""
        old, settings = change.old, change.settings
        self._summary.change_mappings(settings.mappings)
        if self._files is not None:
            self._files.configure(settings)
        if self._webhook is not None:
            self._webhook.configure(settings.webhook)
        gone = {mapping.alias for mapping in old.mappings.values()}
        gone -= {mapping.alias for mapping in settings.mappings.values()}
        tables = _tables_of(old) - _tables_of(settings)
        self._metrics.forget(aliases=gone, tables=tables)

    def _reload_by_signal(self) -> None:
        if self._reloader is None:
            return
        task = asyncio.create_task(self._reloader.reload("SIGHUP"), name="reload-by-signal")
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _keep_beating(self) -> None:
        while True:
            self._beat("loop")
            self.measure()
            for name, beat in self._beats.items():
                self._metrics.heartbeat_timestamp_seconds.labels(name).set(beat)
            self._garbage.show()
            self._metrics.ready.set(all(self.readyz().values()))
            self._summary.measure(time.time(), self._state())
            await asyncio.sleep(BEAT_SECONDS)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "version": __version__,
            "node": self.node_id,
            "started": self._started,
            "state": "stopping" if self._stop.is_set() else "running" if self._generations.composition else "starting",
            **({"state_lost": None} if self._store is None else self._store.status()),
            **({} if self._reloader is None else self._reloader.status()),
            "stuck_loops": [name for name, loop in self.livez().items() if not loop.ok],
        }
        if self._generations.composition is not None:
            return {**state, **self._generations.composition.status()}
        return {**state, "waiting_for": self._waiting}

    def _report_wait(self, what: str, error: str | None) -> None:
        self._waiting = None if error is None else {"what": what, "error": error}

    def _beat(self, name: str) -> None:
        self._beats[name] = time.time()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_or_exit, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_by_signal)
        loop.add_signal_handler(signal.SIGUSR1, _log_from, "debug")
        loop.add_signal_handler(signal.SIGUSR2, lambda: _log_from(self._generations.settings.log.level))

    def _stop_or_exit(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            # A second signal: exit at once. Nothing is lost, as with kill -9.
            log.warning("daemon.killed", signal=number.name)
            os._exit(128 + number)
        log.info("daemon.stopping", signal=number.name)
        self._stop.set()
        self._generations.stopping = True


def _tables_of(settings: Settings) -> set[tuple[str, str]]:
    """Return the keyspace and the name of each table whose changes are shown or polled."""
    shown = (table for mapping in settings.mappings.values() for table in (mapping.table, *mapping.joined_tables))
    return {(table.keyspace, table.table) for table in (*shown, *(each.table for each in settings.poll))}


def _folder_of(settings: Settings) -> Path | None:
    return settings.commit_log.cdc_raw_directory if settings.tail else None


def _log_from(level: str) -> None:
    logs.set_level(level)
    log.warning("daemon.log_level", log_level=level)


def _cause_of(error: BaseException) -> BaseException:
    """Return the error that ended the daemon: of nested groups the first of its own errors, else the first error.

    An error of another kind is a defect of the daemon, so its traceback is logged.
    """
    leaves = list(_leaves(error))
    cause = next((each for each in leaves if isinstance(each, CdcError)), leaves[0])
    if not isinstance(cause, CdcError):
        log.error("daemon.failed", hint="this is a defect of cdc-daemon; please report these lines", exc_info=error)
    return cause


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
