"""Sync jobs: requests for rows that are stored durably, processed in turns, and resumed after a restart."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import structlog

from cdc_daemon.model.backoff import Backoff
from cdc_daemon.model.errors import CdcError, StoreError
from cdc_daemon.model.id_file import read_entries
from cdc_daemon.model.slices import in_slices
from cdc_daemon.sources.requests.errors import InvalidIdError, TooManyJobsError
from cdc_daemon.sources.requests.ids import RequestedId
from cdc_daemon.sources.requests.outcome import NotReplicatedError, SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.service import SyncService
from cdc_daemon.store.sync_jobs import SyncJob, SyncJobPart

log = structlog.get_logger(__name__)

KIND = "sync"

PART = 500
"""Ids processed between two durable records of progress. A crash repeats at most one such part."""


class JobStore(Protocol):
    """Durable storage for jobs. Every method blocks for the disk."""

    def add(
        self, job: SyncJob, ids: Sequence[Any], *, part: int, limit: int, refused: Mapping[str, str] | None = None
    ) -> SyncJob | None:
        """Store a new job durably; return None if `limit` jobs are open. `refused` are failures from the beginning."""
        ...

    def get(self, identity: str) -> SyncJob | None:
        """Return a job, or None."""
        ...

    def failures(self, identity: str) -> dict[str, str]:
        """Return the ids that failed, with reasons."""
        ...

    def open_types(self, kind: str) -> Collection[str]:
        """Return the object types of open jobs."""
        ...

    def next_open(self, kind: str, object_type: str, *, after: SyncJob | None = None) -> SyncJob | None:
        """Return the job to process after a part of the job `after`."""
        ...

    def next_part(self, identity: str) -> SyncJobPart | None:
        """Return the part to process next."""
        ...

    def complete_part(
        self, identity: str, part: SyncJobPart, *, indexed: int, deleted: int, missing: int, failures: Mapping[str, str]
    ) -> None:
        """Record that a part is processed."""
        ...

    def finish(self, identity: str, *, message: str | None = None) -> bool:
        """Record that a job has ended; return False if it had already ended."""
        ...

    def cancel(self, identity: str) -> bool:
        """Record that a job is cancelled; return False if it has already ended or is unknown."""
        ...


class SyncJobReport(NamedTuple):
    """A job and the reasons of its failures, by id."""

    job: SyncJob
    failures: Mapping[str, str]


class SyncJobRunner:
    """Accepts sync jobs durably and processes them. `limit` is the maximum number of open jobs.

    Each object type has its own worker, so a type whose documents cannot be written does not block the others. The jobs
    of a type are processed in turns, part by part, so a huge job does not block the others. The jobs of a suspended
    type wait until its mapping fits its table again.
    """

    def __init__(self, service: SyncService, store: JobStore, *, limit: int = 100, part: int = PART) -> None:
        self._service = service
        self._store = store
        self._limit = limit
        self._part = part
        self._processing: dict[str, asyncio.Task[SyncOutcome]] = {}
        self._wake = {object_type: asyncio.Event() for object_type in service.object_types}

    async def start(self, object_type: str, ids: Sequence[Any], *, refresh: Refresh = Refresh.NO) -> SyncJob:
        """Store a job and return it. From then on the job is durable: it survives a crash of this process.

        Raises `UnknownObjectTypeError`, `InvalidIdError`, `TooManyJobsError` and `StoreError`; then no job is stored.
        """
        return await self._start(
            object_type, zip(ids, await self._service.parse(object_type, ids), strict=True), {}, refresh
        )

    async def start_file(self, object_type: str, content: bytes, *, refresh: Refresh = Refresh.NO) -> SyncJob:
        """Store a job for the ids in a file: one on each line, or a JSON list. A wrong line is a failure of the job.

        Raises as `start` does, and `InvalidIdError` for a file without any id.
        """
        entries = await asyncio.to_thread(lambda: list(read_entries(io.BytesIO(content))))
        if not entries:
            raise InvalidIdError("expected a file with at least one id, found none")
        refused = {f"line {each.line}": each.problem for each in entries if each.problem is not None}
        named = [each for each in entries if each.problem is None]
        ids = [each.identity for each in named]
        parsed, invalid = await self._service.parse_valid(object_type, ids)
        refused |= {f"line {named[at].line}": reason for at, reason in invalid.items()}
        valid = [identity for at, identity in enumerate(ids) if at not in invalid]
        return await self._start(object_type, zip(valid, parsed, strict=True), refused, refresh)

    async def _start(
        self,
        object_type: str,
        pairs: Iterable[tuple[Any, RequestedId]],
        refused: Mapping[str, str],
        refresh: Refresh,
    ) -> SyncJob:
        distinct = list({requested.key: identity for identity, requested in pairs}.values())
        job = SyncJob(id=secrets.token_hex(8), kind=KIND, object_type=object_type, refresh=refresh.value)
        stored = await asyncio.to_thread(
            self._store.add, job, distinct, part=self._part, limit=self._limit, refused=refused
        )
        if stored is None:
            raise TooManyJobsError(f"expected fewer than {self._limit} open jobs")
        self._wake[object_type].set()
        log.info("job.accepted", job=stored.id, object_type=object_type, ids=stored.total)
        return stored

    async def report(self, identity: str) -> SyncJobReport | None:
        """Return a job's progress; None if no job has that id."""
        job = await asyncio.to_thread(self._store.get, identity)
        if job is None or job.kind != KIND:
            return None
        if job.open and (reason := self._service.suspended.get(job.object_type)) is not None:
            job = replace(job, message=f"waiting: the mapping of its type does not fit its table: {reason}")
        return SyncJobReport(job, await asyncio.to_thread(self._store.failures, identity) if job.failed else {})

    async def cancel(self, identity: str) -> SyncJobReport | None:
        """Cancel a job and return its report; None if no job has that id.

        Writes in flight to Elasticsearch are still completed. A job that has ended stays as it is. Raises `StoreError`.
        """
        if await asyncio.to_thread(self._store.cancel, identity):
            log.info("job.cancelled", job=identity)
            if identity in self._processing:
                self._processing[identity].cancel()
        return await self.report(identity)

    async def run(self) -> None:
        """Process jobs until cancelled. Unfinished jobs continue at the next start."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fail_unknown(), name="jobs-unknown")
            for object_type, wake in self._wake.items():
                tasks.create_task(self._process_jobs(object_type, wake), name=f"jobs-{object_type}")

    async def _fail_unknown(self) -> None:
        """Fail the jobs of types that are no longer configured. Only a previous process can have accepted them."""
        backoff = Backoff()
        while True:
            try:
                for object_type in await asyncio.to_thread(self._store.open_types, KIND):
                    if object_type not in self._wake and object_type not in self._service.suspended:
                        await self._fail_jobs(object_type, f"object type {object_type} has no mapping any more")
            except StoreError as error:
                await _pause(error, backoff)
            else:
                return

    async def _fail_jobs(self, object_type: str, message: str) -> None:
        while (job := await asyncio.to_thread(self._store.next_open, KIND, object_type)) is not None:
            await asyncio.to_thread(self._store.finish, job.id, message=message)
            log.warning("job.failed", job=job.id, error=message)

    async def _process_jobs(self, object_type: str, wake: asyncio.Event) -> None:
        backoff = Backoff()
        job: SyncJob | None = None
        while True:
            wake.clear()
            try:
                job = await asyncio.to_thread(self._store.next_open, KIND, object_type, after=job)
                if job is None:
                    await wake.wait()
                else:
                    await self._process_next_part(job)
                backoff.reset()
            except (StoreError, NotReplicatedError) as error:
                await _pause(error, backoff)

    async def _process_next_part(self, job: SyncJob) -> None:
        """Process a job's next part, or end the job if there is none."""
        part = await asyncio.to_thread(self._store.next_part, job.id)
        if part is None:
            await self._service.replicate(job.object_type, [], refresh=Refresh(job.refresh))
            if await asyncio.to_thread(self._store.finish, job.id):
                log.info("job.done", job=job.id, object_type=job.object_type)
            return
        outcome = await self._unless_cancelled(job, self._process_part(job, part))
        if outcome is None:
            return
        await asyncio.to_thread(
            self._store.complete_part,
            job.id,
            part,
            indexed=outcome.indexed,
            deleted=outcome.deleted,
            missing=outcome.missing,
            failures=outcome.failures,
        )

    async def _unless_cancelled(self, job: SyncJob, processing: Coroutine[Any, Any, SyncOutcome]) -> SyncOutcome | None:
        """Return the outcome of a part; None as soon as its job is cancelled."""
        task = asyncio.create_task(processing, name=f"job-{job.id}")
        self._processing[job.id] = task
        try:
            await asyncio.wait({task})
        finally:
            del self._processing[job.id]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return None if task.cancelled() else task.result()

    async def _process_part(self, job: SyncJob, part: SyncJobPart) -> SyncOutcome:
        requested: list[RequestedId] = []
        refused: dict[str, str] = {}

        def parse(_start: int, ids: Sequence[Any]) -> None:
            for identity in ids:
                try:
                    requested.extend(self._service.parse_ids(job.object_type, [identity]))
                except InvalidIdError as error:
                    # The configuration has changed since the job was accepted.
                    refused[identity if isinstance(identity, str) else repr(identity)] = error.message

        await in_slices(part.ids, parse)
        outcome = await self._service.replicate(job.object_type, requested)
        outcome.failures.update(refused)
        return outcome


async def _pause(error: CdcError, backoff: Backoff) -> None:
    delay = backoff.next()
    log.warning("job.retry", error=error.message, hint=error.hint, retry_in_seconds=round(delay, 3))
    await asyncio.sleep(delay)
