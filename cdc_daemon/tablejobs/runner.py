"""Accepts jobs durably and runs them. Jobs of operators, repairs and audits run concurrently."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, get_args

import structlog

from cdc_daemon.cassandra.ring import LARGEST, TokenRange
from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, ConfigError, StoreError, Trouble
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.handover import refusal_of
from cdc_daemon.sources.requests.errors import TooManyJobsError, UnknownObjectTypeError
from cdc_daemon.store.range_jobs import CHECK, DOCUMENTS, ROWS, JobProgress, JobRange, RangeJob, RangeJobs
from cdc_daemon.tablejobs.range_job import JobOrigin, JobRequest, JobRun, take_sample

log = structlog.get_logger(__name__)

OPEN_JOBS = 100
"""Maximum unfinished jobs."""

STALLED_SECONDS = 1.0
"""Seconds between two checks of whether a job that waits for an alias in trouble can continue."""

MOST_REFUSALS = 5
"""Number of refused queries after which a job fails. Fewer may be due to a schema change in progress."""


class JobWork(Protocol):
    """The work of a kind of job. Both methods raise `CdcError`; retryable errors are retried."""

    async def work(self, run: JobRun, part: JobRange) -> None:
        """Process the rest of a range, recording progress with `run.move`."""
        ...

    async def finish(self, run: JobRun) -> None:
        """Finish the job when each range is done. It may be repeated after a crash."""
        ...


class RingSplitter(Protocol):
    """Splits the ring into ranges."""

    async def pieces(self, table: TableName, wanted: Sequence[TokenRange]) -> Sequence[TokenRange]:
        """Return the wanted tokens in ranges that are processed one by one."""
        ...


class RangeJobReport(NamedTuple):
    """A job, its progress, and the rows written by object type."""

    job: RangeJob
    progress: JobProgress
    rows: Mapping[str, int]


class RangeJobRunner:
    """Runs jobs on whole tables, one at a time of each origin.

    The origin of a job is an operator, the first copy of a table, a loss of changes, a possible loss, the audit, or the
    search for removed rows. So a repair of lost changes never waits for the audit or the repair of a possible loss,
    which are slow on purpose, nor for an operator's backfill or a first copy.

    `ranges_at_once` ranges of a job run concurrently, at `rate` rows a second unless the job has a rate of its own.
    Progress is stored for each range, so a job resumes after any failure of the process.

    `trouble` returns why the alias of a type accepts no writes; None if it accepts them. Ranges of a type in trouble
    wait. The job's other ranges, and other jobs, continue. `check` raises `ConfigError` for a job that its tables do
    not permit.
    """

    def __init__(
        self,
        store: RangeJobs,
        ring: RingSplitter,
        works: Mapping[str, JobWork],
        tables: Mapping[str, TableName],
        *,
        rate: float | None = None,
        ranges_at_once: int = 2,
        trouble: Callable[[str], Trouble | None] = lambda _type: None,
        check: Callable[[JobRequest], None] = lambda _request: None,
    ) -> None:
        self._trouble = trouble
        self._check = check
        self._store = store
        self._rate = rate
        self._ring = ring
        self._works = works
        self._tables = tables
        self._ranges_at_once = ranges_at_once
        self._wake = asyncio.Condition()
        self._running: dict[str, tuple[JobRun, asyncio.Task[None]]] = {}
        self._refusals: Counter[str] = Counter()
        self._retried: dict[str, str] = {}

    @property
    def object_types(self) -> Sequence[str]:
        """The types that jobs can be for."""
        return sorted(self._tables)

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Submit a job durably.

        Raises `UnknownObjectTypeError`, `TooManyJobsError`, `StoreError`, and what `check` and the ring raise.
        """
        for object_type in request.types:
            if object_type not in self._tables:
                raise UnknownObjectTypeError(object_type, self._tables)
        self._check(request)
        request = replace(request, rate=request.rate or self._rate)
        ranges = [each for object_type in request.types for each in await self._ranges(object_type, request)]
        job = RangeJob(id=secrets.token_hex(8), kind=request.kind, origin=request.origin, options=request.options())
        stored = await asyncio.to_thread(self._store.add, job, ranges, limit=OPEN_JOBS)
        if stored is None:
            raise TooManyJobsError(f"expected fewer than {OPEN_JOBS} jobs that wait")
        log.info("job.accepted", job=stored.id, kind=stored.kind, origin=stored.origin, **stored.options)
        async with self._wake:
            self._wake.notify_all()
        return await self._report(stored)

    async def report(self, identity: str) -> RangeJobReport | None:
        """Return the status of a job; None if no job has that id."""
        job = await asyncio.to_thread(self._store.get, identity)
        return None if job is None else await self._report(job)

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        """Return the status of the newest jobs, newest first."""
        return [await self._report(job) for job in await asyncio.to_thread(self._store.newest, limit=limit)]

    async def cancel(self, identity: str) -> RangeJobReport | None:
        """Cancel a job; return None if no job has that id. Rows that are already in flight are still written."""
        if await asyncio.to_thread(self._store.finish, identity, "cancelled"):
            log.info("job.cancelled", job=identity)
            if identity in self._running:
                self._running[identity][1].cancel()
        return await self.report(identity)

    async def has_open(self, origin: JobOrigin) -> bool:
        """Return whether there is an unfinished job of this origin that can be processed. Raises `StoreError`."""
        for job in await self._open_jobs(origin):
            if not await self._is_stalled(job):
                return True
        return False

    async def stalled_requests(self, origin: JobOrigin) -> set[int]:
        """Return the requests of jobs of this origin that wait for aliases in trouble. Raises `StoreError`."""
        return {number for job in await self._stalled(origin) for number in job.options.get("requests", ())}

    def is_in_trouble(self, object_type: str) -> bool:
        """Return whether the alias of a type accepts no writes."""
        return self._trouble(object_type) is not None

    def failure(self, identity: str) -> str | None:
        """Return why the last attempt of an unfinished job failed, None if it did not."""
        return self._retried.get(identity)

    def status(self) -> Sequence[Mapping[str, Any]]:
        """Return the status of the running jobs, in plain values."""
        return [
            {
                "job": run.job.id,
                "kind": run.job.kind,
                "origin": run.job.origin,
                "types": list(run.request.types),
                "fraction": round(run.progress.fraction, 6),
                "rows": run.progress.rows,
            }
            for run, _ in self._running.values()
        ]

    async def run(self) -> None:
        """Run jobs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for origin in get_args(JobOrigin):
                tasks.create_task(self._run_jobs_of(origin), name=f"jobs-{origin}")

    async def _ranges(self, object_type: str, request: JobRequest) -> list[tuple[str, int, int, str]]:
        pieces = await self._ring.pieces(self._tables[object_type], request.wanted)
        if request.sample < 1:
            chance = random.Random()  # noqa: S311 -- not a secret
            pieces = [take_sample(piece, request.sample, chance) for piece in pieces]
        ranges = [(object_type, *piece, ROWS) for piece in pieces]
        compared = request.new_index
        if compared:
            ranges += [(object_type, *piece, CHECK) for piece in pieces]
        if compared or request.kind not in {"backfill", "catch_up"}:
            # The tokens of this range only determine its share of the job's progress.
            ranges.append((object_type, 0, min(LARGEST, sum(piece.width for piece in pieces)), DOCUMENTS))
        return ranges

    async def _report(self, job: RangeJob) -> RangeJobReport:
        progress = await asyncio.to_thread(self._store.progress, job.id)
        return RangeJobReport(job, progress, await asyncio.to_thread(self._store.rows_by_type, job.id))

    async def _run_jobs_of(self, origin: JobOrigin) -> None:
        backoff = Backoff()
        while True:
            job: RangeJob | None = None
            try:
                job = await self._wait_next(origin)
                await self._process_job(job)
                self._retried.pop(job.id, None)
                backoff.reset()
            except CdcError as error:
                delay = backoff.next()
                if job is not None:
                    self._retried[job.id] = error.message
                log.warning("job.retry", error=error.message, hint=error.hint, retry_in_seconds=round(delay, 3))
                await asyncio.sleep(delay)

    async def _wait_next(self, origin: JobOrigin) -> RangeJob:
        """Wait for a job that can be processed."""
        async with self._wake:
            while True:
                waiting = await self._open_jobs(origin)
                for job in waiting:
                    if not await self._is_stalled(job):
                        return job
                with suppress(TimeoutError):
                    async with asyncio.timeout(STALLED_SECONDS if waiting else None):
                        await self._wake.wait()

    async def _open_jobs(self, origin: JobOrigin) -> list[RangeJob]:
        return [job for job in await asyncio.to_thread(self._store.open_jobs) if job.origin == origin]

    async def _stalled(self, origin: JobOrigin) -> list[RangeJob]:
        return [job for job in await self._open_jobs(origin) if await self._is_stalled(job)]

    async def _is_stalled(self, job: RangeJob) -> bool:
        """Return whether all remaining ranges of a job wait for aliases in trouble."""
        if all(self._trouble(object_type) is None for object_type in self._tables):
            return False
        unfinished = await asyncio.to_thread(self._store.open_ranges, job.id)
        return bool(unfinished) and all(self._trouble(part.object_type) is not None for part in unfinished)

    async def _process_job(self, job: RangeJob) -> None:
        """Process a job until it ends, is cancelled, or has to wait. Raises `CdcError` in the last case."""
        try:
            run, work = await self._open(job)
        except ConfigError as error:
            await self._fail(job, error)
            return
        task = asyncio.create_task(self._work(run, work), name=f"job-{job.id}")
        self._running[job.id] = (run, task)
        try:
            await asyncio.wait({task})
        finally:
            del self._running[job.id]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            return
        failure = task.exception()
        if isinstance(failure, CassandraRefusedError):
            self._refusals[job.id] += 1
        if isinstance(failure, CdcError) and self._is_final(job, failure):
            await self._fail(job, failure)
        elif isinstance(failure, CdcError):
            raise failure
        elif failure is not None:
            # The job fails at once: retried after each restart, it would stop the daemon each time.
            log.error("job.broken", job=job.id, exc_info=failure)
            await self._fail(job, CdcError(f"{type(failure).__name__}: {failure}"))

    async def _open(self, job: RangeJob) -> tuple[JobRun, JobWork]:
        request = JobRequest.of(job.kind, job.origin, job.options)  # type: ignore[arg-type]  # as `start` had it
        if unmapped := set(request.types) - self._tables.keys():
            raise ConfigError(f"object type {', '.join(sorted(unmapped))} has no mapping any more")
        if job.kind not in self._works:
            raise ConfigError(f"this daemon cannot run jobs of kind {job.kind}")
        progress = await asyncio.to_thread(self._store.progress, job.id)
        return JobRun(job, request, self._store, progress), self._works[job.kind]

    def _is_final(self, job: RangeJob, failure: CdcError) -> bool:
        """Return whether a retry is useless: queries of a dropped table, for example, are always refused."""
        return self._refusals[job.id] >= MOST_REFUSALS or not (failure.retryable or isinstance(failure, StoreError))

    async def _work(self, run: JobRun, work: JobWork) -> None:
        await asyncio.to_thread(self._store.begin, run.job.id)
        log.info("job.running", job=run.job.id, kind=run.job.kind, fraction=round(run.progress.fraction, 4))
        unfinished = await asyncio.to_thread(self._store.open_ranges, run.job.id)
        # The documents of a type are walked only after all of its rows are processed.
        stalled = {
            part.object_type: trouble for part in unfinished if (trouble := self._trouble(part.object_type)) is not None
        }
        workable = [part for part in unfinished if part.object_type not in stalled]
        run.begin(workable)
        ranges = iter(workable)

        async def one_after_another() -> None:
            for part in ranges:
                await work.work(run, part)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._ranges_at_once):
                    tasks.create_task(one_after_another())
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        for trouble in stalled.values():
            raise refusal_of(trouble)
        await work.finish(run)
        await asyncio.to_thread(self._store.finish, run.job.id, "done")
        log.info("job.done", job=run.job.id, kind=run.job.kind, rows=run.progress.rows)

    async def _fail(self, job: RangeJob, error: CdcError) -> None:
        await asyncio.to_thread(self._store.finish, job.id, "failed", message=str(error))
        log.warning("job.failed", job=job.id, error=error.message, hint=error.hint)
