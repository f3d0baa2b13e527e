"""A job while it is worked on: its pace, how far it is, what it found."""

from __future__ import annotations

import asyncio
import time
from copy import deepcopy
from typing import Any

from cdc_daemon.cassandra.pace import Pace
from cdc_daemon.jobs.request import JobRequest
from cdc_daemon.store.range_jobs import ROWS, JobRange, Progress, RangeJob, RangeJobs

SAVED_EVERY = 1.0
"""Seconds between two durable notes of how far a range is: what a crash repeats at most."""


class JobRun:
    """One job under way in this process. Its methods raise `StoreError`."""

    def __init__(self, job: RangeJob, request: JobRequest, store: RangeJobs, progress: Progress) -> None:
        self.job = job
        self.request = request
        self.pace = Pace(request.rate)
        self.found: dict[str, Any] = dict(job.report)
        """What was found so far, in plain values; durable from the next `move` on."""
        self._store = store
        self._progress = progress
        self._saved: dict[int, JobRange] = {}
        self._saved_at: dict[int, float] = {}

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._progress

    async def move(self, part: JobRange, cursor: int, rows: int, *, done: bool = False) -> None:
        """Take note that a range is settled up to a token; durably at least every `SAVED_EVERY` seconds."""
        before = self._saved.get(part.number, part)
        now = time.monotonic()
        if not done and (cursor, rows) == (before.cursor, before.rows):
            return
        if not done and now < self._saved_at.get(part.number, float("-inf")) + SAVED_EVERY:
            return
        found = deepcopy(self.found) or None  # the thread must not see it change
        await asyncio.to_thread(self._store.move, self.job.id, part.number, cursor, rows, done=done, report=found)
        progress = self._progress
        self._progress = progress._replace(
            ranges_done=progress.ranges_done + done,
            tokens_done=progress.tokens_done + cursor - before.cursor,
            rows=progress.rows + (rows - before.rows if part.side == ROWS else 0),
        )
        self._saved[part.number] = JobRange(
            number=part.number,
            object_type=part.object_type,
            first=part.first,
            last=part.last,
            cursor=cursor,
            rows=rows,
            side=part.side,
        )
        self._saved_at[part.number] = now

    async def is_done(self, object_type: str, side: str) -> bool:
        """Tell whether each range of a type and a side is done."""
        left = await asyncio.to_thread(self._store.open_ranges, self.job.id)
        return not any(part.object_type == object_type and part.side == side for part in left)

    def beside(self) -> JobRun:
        """Return a run of the same job for work outside its ranges, which notes no progress."""
        return _Beside(self)

    async def keep_found(self) -> None:
        """Make what was found durable."""
        await asyncio.to_thread(self._store.report, self.job.id, deepcopy(self.found))


class _Beside(JobRun):
    def __init__(self, run: JobRun) -> None:
        super().__init__(run.job, run.request, run._store, run._progress)
        self.pace = run.pace
        self.found = run.found

    async def move(self, part: JobRange, cursor: int, rows: int, *, done: bool = False) -> None:
        """Note nothing."""
