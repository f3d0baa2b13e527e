"""Scheduled tasks: each has a name and a visible status, and never runs twice at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from cdc_daemon.model.errors import CdcError

log = structlog.get_logger(__name__)

_SAID_AGAIN = 60.0
"""Seconds between repeated log messages that a task fails."""

_CLOCK_CHECK_SECONDS = 1.0
"""Seconds between checks whether the clock was set back."""


@dataclass(slots=True)
class ScheduledJob:
    """A scheduled job and its status. Times are in seconds since epoch, 0 for never.

    `interval` is in seconds. `passed_over` counts the runs skipped because the job was still running.
    """

    name: str
    interval: float
    running: bool = False
    started: float = 0.0
    ended: float = 0.0
    succeeded: float = 0.0
    runs: int = 0
    failures: int = 0
    passed_over: int = 0
    error: str | None = None


class Schedule:
    """Runs coroutine functions at intervals while `run` runs.

    A job that takes longer than its interval is not started in parallel: its next run starts after it has ended.
    Runs that were missed, because the process was suspended or the machine slept, become one. A job that raises
    is logged and runs again; only cancellation ends it. If the machine's clock is set back, runs
    are due at once instead of when the clock reaches their time again.

    Some jobs run at fixed times. Others (`rests`) check often for work and may then take long: while one of them runs,
    no run of it is due and none is counted as passed over.
    """

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_listener(self._note_passed_over, EVENT_JOB_MAX_INSTANCES)
        self._jobs: dict[str, ScheduledJob] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._resting: set[str] = set()
        self._longest: dict[str, timedelta] = {}

    @property
    def jobs(self) -> Mapping[str, ScheduledJob]:
        """All jobs by name."""
        return self._jobs

    def next_run(self, name: str) -> float | None:
        """Return the time of a job's next run, in seconds since epoch.

        None before `run`, for an unknown job, and for a job with `rests` while it runs.
        """
        job = self._scheduler.get_job(name)
        moment = None if job is None else getattr(job, "next_run_time", None)
        return None if moment is None else float(moment.timestamp())

    def every(
        self,
        seconds: float,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        first: float = 0.0,
        jitter: float = 0.0,
        rests: bool = False,
    ) -> None:
        """Schedule `work` every `seconds` seconds, the first time `first` seconds from now.

        `jitter` (seconds) spreads the runs, so that the daemons of a cluster do not all run at once. Raises
        ValueError for a name that is taken.
        """
        if name in self._jobs:
            raise ValueError(f"expected a job's own name, found {name} again")
        job = self._jobs[name] = ScheduledJob(name, seconds)
        if rests:
            self._resting.add(name)
        self._longest[name] = timedelta(seconds=max(first, seconds) + jitter + _CLOCK_CHECK_SECONDS)
        begin = datetime.now(UTC) + timedelta(seconds=first)
        self._scheduler.add_job(
            self._turn,
            IntervalTrigger(seconds=seconds, start_date=begin, timezone=UTC, jitter=jitter or None),
            args=(job, work),
            id=name,
            name=name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
            next_run_time=begin,
        )

    def bring_forward(self, name: str) -> None:
        """Schedule a job's next run for now. Raises KeyError for an unknown name."""
        if name not in self._jobs:
            raise KeyError(name)
        self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    async def run(self) -> None:
        """Run jobs when they are due, until cancelled. Then cancel the running jobs and wait for them."""
        self._scheduler.start()
        try:
            while True:
                await asyncio.sleep(_CLOCK_CHECK_SECONDS)
                self._follow_clock()
        finally:
            self._scheduler.pause()
            try:
                # A run with an existing task must begin first: the scheduler logs an error for a task that is cancelled
                # before it begins, and for one that `shutdown` cancels.
                await asyncio.sleep(0)
                for turn in self._turns:
                    turn.cancel()
                await asyncio.gather(*self._turns, return_exceptions=True)
            finally:
                self._scheduler.shutdown(wait=False)

    def _follow_clock(self) -> None:
        """Bring forward jobs that are due later than their interval allows: the clock was set back."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            if job.next_run_time is not None and job.next_run_time - now > self._longest[job.id]:
                late = (job.next_run_time - now).total_seconds()
                log.info("schedule.clock_set_back", job=job.id, seconds=round(late), every=_SAID_AGAIN)
                self.bring_forward(job.id)

    async def _turn(self, job: ScheduledJob, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._turns.add(task)
        job.running, job.started = True, time.time()
        try:
            with self._rest(job.name):
                await work()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- it is logged
            # A failed run must not end the job, whatever it raises. Nor must a cancellation that was meant for another
            # task and arrived through a shared future.
            if isinstance(error, asyncio.CancelledError) and task.cancelling():
                return  # a stop; the scheduler would log the cancellation as an error, and the task ends here anyway
            job.failures += 1
            job.error = str(error) or type(error).__name__
            _log_failure(job, error)
        else:
            job.error = None
            job.succeeded = time.time()
        finally:
            job.running, job.ended = False, time.time()
            job.runs += 1
            self._turns.discard(task)

    @contextmanager
    def _rest(self, name: str) -> Iterator[None]:
        """Suspend a job with `rests` during a block, so that no run is due."""
        if name not in self._resting:
            yield
            return
        self._scheduler.pause_job(name)
        try:
            yield
        finally:
            with suppress(JobLookupError):  # the scheduler was shut down
                self._scheduler.resume_job(name)

    def _note_passed_over(self, event: JobSubmissionEvent) -> None:
        self._jobs[event.job_id].passed_over += 1


def _log_failure(job: ScheduledJob, error: BaseException) -> None:
    known = isinstance(error, CdcError)
    log.warning(
        "schedule.job_failed",
        job=job.name,
        error=job.error,
        hint=error.hint if isinstance(error, CdcError) else None,
        exc_info=None if known else error,
        every=_SAID_AGAIN,
        every_key=job.name,
    )
