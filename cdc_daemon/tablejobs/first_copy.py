"""First copies: the rows that were there before an index was created are backfilled once, without a command."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from cdc_daemon.store.first_copies import FirstCopies, FirstCopy
from cdc_daemon.tablejobs.range_job import JobRequest
from cdc_daemon.tablejobs.runner import RangeJobReport

log = structlog.get_logger(__name__)

CHECK_INTERVAL = 2.0
"""Seconds between two checks for first copies to start, and for those that have ended."""


class CopyRunner(Protocol):
    """Runs the daemon's own jobs."""

    @property
    def object_types(self) -> Sequence[str]:
        """The types that jobs can be for."""
        ...

    async def start(self, request: JobRequest) -> RangeJobReport:
        """Submit a job durably."""
        ...

    async def report(self, identity: str) -> RangeJobReport | None:
        """Return the status of a job."""
        ...

    async def newest(self, limit: int) -> Sequence[RangeJobReport]:
        """Return the status of the newest jobs, newest first."""
        ...


class FirstCopier:
    """Starts a backfill for each wanted first copy, and records how it ended.

    The copy was recorded as wanted before its index was created (`app/parts/index_preparation.py`). It is a durable
    job of its own for each type, so it resumes after a restart, and is never started for an index that existed. A copy
    that failed or was cancelled is not repeated: an operator's backfill does the same.
    """

    def __init__(self, copies: FirstCopies, runner: CopyRunner) -> None:
        self._copies = copies
        self._runner = runner

    async def check(self) -> None:
        """Start the copies that wait, and record those that have ended. Raises `CdcError`."""
        for object_type, copy in list(self._copies.all.items()):
            if object_type not in self._runner.object_types:
                continue  # its mapping does not fit its table now, or was removed
            if copy.state == "waiting":
                await self._start(object_type, earlier=copy.job)
            elif copy.state == "running" and copy.job is not None:
                await self._follow(object_type, copy.job)

    def status(self) -> Sequence[Mapping[str, Any]]:
        """Return the first copies, in plain values."""
        return [
            {"type": object_type, "state": copy.state, "job": copy.job}
            for object_type, copy in self._copies.all.items()
        ]

    async def _start(self, object_type: str, *, earlier: str | None) -> None:
        job = await self._open_job(object_type, earlier)
        if job is None:
            report = await self._runner.start(JobRequest(kind="backfill", types=(object_type,), origin="first_copy"))
            job = report.job.id
        await asyncio.to_thread(self._copies.put, object_type, FirstCopy("running", job))
        log.info("first_copy.started", type=object_type, job=job)

    async def _open_job(self, object_type: str, earlier: str | None) -> str | None:
        """Return the open job of this copy, if the process was killed after it had submitted the job."""
        for report in await self._runner.newest(100):
            job = report.job
            if (
                job.open
                and job.id != earlier
                and job.origin == "first_copy"
                and list(job.options.get("types", ())) == [object_type]
            ):
                return job.id
        return None

    async def _follow(self, object_type: str, job: str) -> None:
        report = await self._runner.report(job)
        if report is not None and report.job.open:
            return
        state = "done" if report is None else report.job.state
        await asyncio.to_thread(self._copies.put, object_type, FirstCopy(state, job))  # type: ignore[arg-type]
        if state == "done":
            rows = 0 if report is None else report.progress.rows
            log.info("first_copy.done", type=object_type, job=job, rows=rows)
            return
        log.warning(
            "first_copy.ended",
            type=object_type,
            job=job,
            state=state,
            error=None if report is None else report.job.message,
            hint=f"rows that were there before are missing in the index: cdc-daemon backfill {object_type}",
        )
