"""Reconciles that start automatically: healing after changes were lost, and periodic audits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange, merge
from cdc_daemon.config.settings import AuditSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest, ReconcileRequests
from cdc_daemon.tablejobs.range_job import JobOrigin, JobRequest, JobRun
from cdc_daemon.tablejobs.runner import RangeJobReport

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 5.0
"""Seconds between two checks for lost changes."""

FIRST_PAUSE = 60.0
"""Seconds after which a failed repair is retried. Each further failure doubles the pause."""

LONGEST_PAUSE = 3600.0
"""The longest pause in seconds before a failed repair is retried."""


class _Pause(NamedTuple):
    """How often the repair of a request has failed, and when it is retried (seconds of the clock)."""

    failures: int
    until: float


class RepairRunner(Protocol):
    """Runs the daemon's own jobs."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Submit a job durably."""
        ...

    async def has_open(self, origin: JobOrigin) -> bool:
        """Return whether there is an unfinished job of this origin that can be processed."""
        ...

    async def stalled_requests(self, origin: JobOrigin) -> set[int]:
        """Return the requests of jobs of this origin that wait for aliases in trouble."""
        ...

    def is_in_trouble(self, object_type: str) -> bool:
        """Return whether the alias of a type accepts no writes."""
        ...


class Healing:
    """Reconciles the node's own token ranges where its log lost changes (docs/guarantees.md, promise 8).

    `types` are the object types whose documents show a table. `ranges` returns the tokens of a keyspace for which the
    node is a replica: its log contains no changes of other tokens.

    A request is closed when a repair that began after the request is done. A repeated request has a new id, and needs
    another repair. Requests of `suspended` tables wait until the mapping fits the table again. If a repair fails or is
    cancelled, its requests wait, each time longer, so that a permanent failure does not start a new repair at every
    check. They do not delay requests for later losses. A repair reads at most `rate` rows a second. One of a possible
    loss reads at most `possible_rate`, and does not delay a repair of a certain loss.
    """

    def __init__(
        self,
        requests: ReconcileRequests,
        runner: RepairRunner,
        *,
        types: Mapping[TableName, Sequence[str]],
        ranges: Callable[[str], Sequence[TokenRange]],
        suspended: Collection[TableName] = (),
        rate: float | None = None,
        possible_rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._runner = runner
        self._types = types
        self._ranges = ranges
        self._suspended = frozenset(suspended)
        self._clock = clock
        self._rates: Mapping[JobOrigin, float | None] = {"gap": rate, "possible_gap": possible_rate}
        self._in_progress: dict[JobOrigin, tuple[int, ...]] = {}
        self._pauses: dict[int | None, _Pause] = {}

    async def check(self) -> None:
        """Start the requested repairs that are not in progress. Raises `CdcError`."""
        wanted = [each for each in await asyncio.to_thread(self._requests.open) if not self._is_suspended(each)]
        if not wanted or await self._runner.has_open("gap"):
            return
        stalled = await self._runner.stalled_requests("gap") | await self._runner.stalled_requests("possible_gap")
        wanted = [request for request in wanted if request.id not in stalled]
        self._record_failure("gap", {request.id for request in wanted})
        slow = await self._runner.has_open("possible_gap")
        if not slow:
            self._record_failure("possible_gap", {request.id for request in wanted})
        due = [request for request in wanted if not self._is_paused(request)]
        # A repair of a certain loss also covers the possible losses, which then need no repair of their own.
        if any(not request.possible for request in due):
            await self._repair("gap", due)
        elif due and not slow:
            await self._repair("possible_gap", due)

    async def _repair(self, origin: JobOrigin, wanted: Sequence[ReconcileRequest]) -> None:
        tables = {
            table
            for request in wanted
            for table in self._types
            if request.table is None or (request.keyspace, request.table) == table
        }
        identities = tuple(request.id for request in wanted if request.id is not None)
        if not tables:
            # No document shows any of the lost changes.
            await asyncio.to_thread(self._requests.close, identities)
            return
        # After a change of a primary key the whole ring is compared: documents of the old key belong to no token of
        # this node.
        if any(request.reason is ReconcileReason.KEY for request in wanted):
            ranges = [WHOLE_RING]
        else:
            ranges = merge(each for keyspace in {table.keyspace for table in tables} for each in self._ranges(keyspace))
        types = tuple(sorted({name for table in tables for name in self._types[table]}))
        log.warning("reconcile.after_loss", types=types, requests=[str(request) for request in wanted][:10])
        await self._runner.start(
            JobRequest(
                kind="reconcile",
                types=types,
                origin=origin,
                ranges=() if ranges == [WHOLE_RING] else tuple(ranges),
                rate=self._rates[origin],
                repair=True,
                requests=identities,
            )
        )
        self._in_progress[origin] = identities

    def _record_failure(self, origin: JobOrigin, wanted: Collection[int | None]) -> None:
        """Delay the requests of the last repair if it has ended without closing them."""
        self._pauses = {each: pause for each, pause in self._pauses.items() if each in wanted}
        failed = [each for each in self._in_progress.pop(origin, ()) if each in wanted]
        if not failed:
            return
        failures = 1 + max(self._pauses[each].failures if each in self._pauses else 0 for each in failed)
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 30))
        self._pauses |= dict.fromkeys(failed, _Pause(failures, self._clock() + seconds))
        log.warning("reconcile.loss_not_healed", requests=len(failed), failures=failures, retry_in_seconds=seconds)

    def _is_paused(self, request: ReconcileRequest) -> bool:
        pause = self._pauses.get(request.id)
        return pause is not None and self._clock() < pause.until

    def _is_suspended(self, request: ReconcileRequest) -> bool:
        return (request.keyspace, request.table) in self._suspended

    async def close_requests(self, run: JobRun) -> None:
        """Close the requests of a finished repair. Raises `StoreError`."""
        if run.request.requests:
            await asyncio.to_thread(self._requests.close, run.request.requests)
            self._in_progress.pop(run.request.origin, None)
            log.info("reconcile.loss_healed", job=run.job.id)


class Audit:
    """Compares a sample of all data periodically, at a low rate.

    `types` are the object types by their tables' keyspaces. `ranges` returns the tokens of a keyspace that this daemon
    compares. If each node has a daemon, all daemons together compare everything once.
    """

    def __init__(
        self,
        runner: RepairRunner,
        settings: AuditSettings,
        types: Mapping[str, Sequence[str]],
        *,
        ranges: Callable[[str], Sequence[TokenRange]],
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._types = types
        self._ranges = ranges

    async def begin(self) -> None:
        """Start a comparison of the types whose aliases accept writes, unless one is running. Raises `CdcError`."""
        if await self._runner.has_open("audit"):
            return
        settings = self._settings
        for keyspace, named in self._types.items():
            ranges = self._ranges(keyspace)
            types = [name for name in named if not self._runner.is_in_trouble(name)]
            if not ranges or not types:
                continue
            await self._runner.start(
                JobRequest(
                    kind="reconcile",
                    types=tuple(sorted(types)),
                    origin="audit",
                    ranges=() if ranges == [WHOLE_RING] else tuple(ranges),
                    rate=settings.rate,
                    repair=settings.repair,
                    sample=settings.sample,
                )
            )
