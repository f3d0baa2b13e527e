"""Delete passes: when each polled table is searched for removed rows, and how soon they are gone from search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange
from cdc_daemon.config.poll import DeletesSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.store.range_jobs import RangeJob, RangeJobs
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun
from cdc_daemon.tablejobs.runner import RangeJobReport

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 5.0
"""Seconds between two checks whether a pass is due."""

RETRY_SECONDS = 300.0
"""Seconds after which a pass that failed for good is started anew, if its interval is longer."""

OVERDUE_SECONDS = 900.0
"""Seconds beyond twice the bound after which a pass counts as overdue."""


class DeletesPlan(NamedTuple):
    """A polled table that is searched for removed rows: the object types with its documents, and its settings."""

    table: TableName
    types: tuple[str, ...]
    settings: DeletesSettings


class PassRunner(Protocol):
    """Runs the passes."""

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Submit a job durably."""
        ...

    def failure(self, identity: str) -> str | None:
        """Return why the last attempt of an unfinished job failed, None if it did not."""
        ...

    def is_in_trouble(self, object_type: str) -> bool:
        """Return whether the alias of a type accepts no writes."""
        ...


class DeletesStatus(NamedTuple):
    """The state of a table's delete passes. Times are in seconds since epoch.

    `searched` is when the last complete pass began: the documents of rows that were removed before are gone. `seconds`
    is how long it took, `rows` and `removed` what it read and removed. `error` is why the current or last pass fails.
    """

    table: TableName
    every: float
    running: bool = False
    searched: float | None = None
    seconds: float | None = None
    rows: int = 0
    removed: int = 0
    error: str | None = None

    @property
    def bound(self) -> float | None:
        """The seconds within which a removed row is gone from search; None before the first pass is complete.

        At worst a row is removed just after the pass has read its key. The next pass begins one interval after the
        last one, or when that one ends if it takes longer, and finds the row at its end.
        """
        return None if self.seconds is None else max(self.every, self.seconds) + CHECK_INTERVAL + self.seconds

    def is_overdue(self, now: float) -> bool:
        """Return whether the next pass should have been complete long ago."""
        if self.searched is None or self.bound is None:
            return False
        return now > self.searched + 2 * self.bound + OVERDUE_SECONDS

    def plain(self, now: float) -> dict[str, Any]:
        """Return the state in plain values."""
        return {
            **self._asdict(),
            "table": str(self.table),
            "bound": None if self.bound is None else round(self.bound, 1),
            "overdue": self.is_overdue(now),
        }


class PassOwners(Protocol):
    """Decides which daemon searches a table; implemented by `peers.members.Members`."""

    @property
    def known(self) -> bool:
        """Whether the other daemons are known."""
        ...

    def is_mine(self, topic: str, piece: str = "") -> bool:
        """Return whether a topic is this daemon's."""
        ...


class SharedPasses:
    """The delete passes of several daemons: one of them searches a table, and all know when it was searched."""

    def __init__(self, owners: PassOwners) -> None:
        self._owners = owners
        self._searched: dict[str, tuple[float, float]] = {}

    @staticmethod
    def topic(table: TableName) -> str:
        """Return the topic under which the daemons share a table's passes."""
        return f"deletes {table}"

    def is_mine(self, table: TableName) -> bool:
        """Return whether this daemon searches a table. It does not before it knows the others."""
        return self._owners.known and self._owners.is_mine(self.topic(table))

    def note(self, status: DeletesStatus) -> DeletesStatus:
        """Return a table's status with its last complete pass, by whichever daemon."""
        name = str(status.table)
        known = self._searched.get(name)
        if status.searched is not None and status.seconds is not None and (not known or known[0] < status.searched):
            self._searched[name] = (status.searched, status.seconds)
        elif known is not None:
            return status._replace(searched=known[0], seconds=known[1])
        return status

    def report(self) -> dict[str, tuple[float, float]]:
        """Return when tables were searched and how long it took, for the other daemons."""
        return dict(self._searched)

    def learn(self, report: Any) -> None:
        """Accept later passes from another daemon's report; whatever else it contains is ignored."""
        for name, told in report.items() if isinstance(report, Mapping) else ():
            match told:
                case [int() | float() as searched, int() | float() as seconds]:
                    if searched > self._searched.get(name, (0.0, 0.0))[0]:
                        self._searched[name] = (float(searched), float(seconds))
                case _:
                    continue


class DeletePasses:
    """Starts the delete passes of polled tables when they are due.

    A pass begins one interval after the previous one began, or when that one has ended. The stored jobs say when that
    was, so a restart neither repeats nor delays a pass. `ranges` returns the tokens of a keyspace that this daemon
    searches. `on_removed` receives the number of documents that a pass removed. Passes that are `shared` with other
    daemons begin in one of them, and in another one when that one is gone.
    """

    def __init__(
        self,
        runner: PassRunner,
        jobs: RangeJobs,
        plans: Sequence[DeletesPlan],
        *,
        ranges: Callable[[str], Sequence[TokenRange]] = lambda _keyspace: (WHOLE_RING,),
        on_removed: Callable[[TableName, int], None] = lambda _table, _count: None,
        shared: SharedPasses | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._runner = runner
        self._jobs = jobs
        self._plans = plans
        self._ranges = ranges
        self._on_removed = on_removed
        self._shared = shared
        self._now = now
        self._status = {plan.table: DeletesStatus(plan.table, plan.settings.every) for plan in plans}

    @property
    def status(self) -> Sequence[DeletesStatus]:
        """The state of each table's passes, as of the last check."""
        return list(self._status.values())

    def plain_status(self) -> list[dict[str, Any]]:
        """Return the state of each table's passes in plain values."""
        return [each.plain(self._now()) for each in self.status]

    async def check(self) -> None:
        """Start the passes that are due. Raises `CdcError`; the other tables are checked all the same."""
        failures = [failure for plan in self._plans if (failure := await self._attempt(plan)) is not None]
        if failures:
            raise failures[0]

    async def note_done(self, run: JobRun) -> None:
        """Record that a pass is complete."""
        removed, _ = _counts(run.found)
        table = next((plan.table for plan in self._plans if plan.types == run.request.types), None)
        if table is not None:
            self._on_removed(table, removed)
        (log.info if removed else log.debug)("deletes.pass_done", job=run.job.id, table=str(table), removed=removed)

    async def _attempt(self, plan: DeletesPlan) -> Exception | None:
        try:
            await self._check(plan)
        except Exception as error:  # noqa: BLE001 -- raised after the other tables were checked
            self._status[plan.table] = self._status[plan.table]._replace(error=str(error))
            return error
        return None

    async def _check(self, plan: DeletesPlan) -> None:
        newest, done = await asyncio.to_thread(self._jobs.latest, "deletes", plan.types)
        blocked = next((name for name in plan.types if self._runner.is_in_trouble(name)), None)
        error = f"the index of {blocked} accepts no writes" if blocked is not None else self._error(newest)
        status = _status(plan, newest, done, error)
        if self._shared is not None:
            status = self._shared.note(status)
        self._status[plan.table] = status
        if plan.types and blocked is None and self._is_due(plan, newest) and not self._is_anothers(status):
            await asyncio.to_thread(self._jobs.keep_latest, "deletes", plan.types)
            ranges = tuple(self._ranges(plan.table.keyspace))
            await self._runner.start(
                JobRequest(
                    kind="deletes",
                    types=plan.types,
                    origin="deletes",
                    ranges=() if ranges == (WHOLE_RING,) else ranges,
                    rate=plan.settings.rate,
                )
            )

    def _is_anothers(self, status: DeletesStatus) -> bool:
        """Return whether another daemon searches a table, or has just done so."""
        if self._shared is None:
            return False
        recently = status.searched is not None and 0 <= self._now() - status.searched < status.every
        return recently or not self._shared.is_mine(status.table)

    def _error(self, newest: RangeJob | None) -> str | None:
        if newest is None:
            return None
        return self._runner.failure(newest.id) if newest.open else newest.message

    def _is_due(self, plan: DeletesPlan, newest: RangeJob | None) -> bool:
        if newest is None:
            return True
        if newest.open:
            return False
        every = plan.settings.every
        interval = min(every, RETRY_SECONDS) if newest.state == "failed" else every
        since = self._now() - newest.created / 1e6
        return not 0 <= since < interval  # below zero if the clock was set back


def _status(plan: DeletesPlan, newest: RangeJob | None, done: RangeJob | None, error: str | None) -> DeletesStatus:
    status = DeletesStatus(plan.table, plan.settings.every, newest is not None and newest.open, error=error)
    if done is None or done.finished is None:
        return status
    removed, rows = _counts(done.report)
    seconds = round((done.finished - done.created) / 1e6, 3)
    return status._replace(searched=done.created / 1e6, seconds=seconds, rows=rows, removed=removed)


def _counts(report: Mapping[str, Any]) -> tuple[int, int]:
    """Return the removed documents and the rows in a pass's report."""
    found = report.get("types", {}).values()
    return sum(each["repaired"] for each in found), sum(each["rows"] for each in found)
