"""A running job: its pace, progress and findings."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from cdc_daemon.cassandra.pace import Pace
from cdc_daemon.store.range_jobs import ROWS, JobRange, Progress, RangeJob, RangeJobs
from cdc_daemon.tablejobs.report import Finding, add_up
from cdc_daemon.tablejobs.request import JobRequest

SAVED_EVERY = 1.0
"""Seconds between two durable records of a range's progress: the maximum that a crash repeats."""


class JobRun:
    """One job that runs in this process. Its methods raise `StoreError`."""

    def __init__(self, job: RangeJob, request: JobRequest, store: RangeJobs, progress: Progress) -> None:
        self.job = job
        self.request = request
        self.pace = Pace(request.rate)
        self.found: dict[str, Any] = dict(job.report)
        """The findings in the finished parts, in plain values; durable from the next `move` on."""
        self._store = store
        self._progress = progress
        self._resumed = progress.tokens_done > 0
        self._is_beside = False
        self._saved: dict[int, JobRange] = {}
        self._saved_at: dict[int, float] = {}
        self._moving = asyncio.Lock()
        self._rows_left: Counter[str] = Counter()
        self._rows_done = asyncio.Condition()

    @property
    def progress(self) -> Progress:
        """The progress of the job."""
        return self._progress

    @property
    def resumed(self) -> bool:
        """Whether part of it was done before this process, or this attempt, started."""
        return self._resumed

    def begin(self, ranges: Iterable[JobRange]) -> None:
        """Record the ranges to process."""
        self._rows_left = Counter(part.object_type for part in ranges if part.side == ROWS)

    async def wait_rows(self, object_type: str) -> None:
        """Wait until all rows of an object type are written."""
        async with self._rows_done:
            await self._rows_done.wait_for(lambda: not self._rows_left[object_type])

    async def move(
        self,
        part: JobRange,
        cursor: int,
        rows: int,
        *,
        done: bool = False,
        found: Finding | None = None,
        now: bool = False,
    ) -> None:
        """Record that a range is finished up to a token, and the findings on the way there.

        Both become durable together, so that nothing counts twice when the rest is repeated after a crash: at least
        every `SAVED_EVERY` seconds, and at once with `now`.
        """
        if self._is_beside:
            self._add(found)
            return
        before = self._saved.get(part.number, part)
        if not done and (cursor, rows) == (before.cursor, before.rows):
            return
        moment = time.monotonic()
        if not (done or now) and moment < self._saved_at.get(part.number, float("-inf")) + SAVED_EVERY:
            return
        async with self._moving:  # findings add up in the order in which they are stored
            self._add(found)
            report = deepcopy(self.found) or None  # the thread must not see it change
            await asyncio.to_thread(self._store.move, self.job.id, part.number, cursor, rows, done=done, report=report)
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
        self._saved_at[part.number] = moment
        if done and part.side == ROWS:
            async with self._rows_done:
                self._rows_left[part.object_type] -= 1
                self._rows_done.notify_all()

    async def is_done(self, object_type: str, side: str) -> bool:
        """Return whether each range of a type and a side is done."""
        left = await asyncio.to_thread(self._store.open_ranges, self.job.id)
        return not any(part.object_type == object_type and part.side == side for part in left)

    def beside(self) -> JobRun:
        """Return a run of the same job for work outside its ranges, which records findings, and no progress."""
        beside = JobRun(self.job, self.request, self._store, self._progress)
        beside.pace, beside.found, beside._is_beside = self.pace, self.found, True
        return beside

    async def keep_found(self) -> None:
        """Store the findings durably."""
        async with self._moving:
            await asyncio.to_thread(self._store.report, self.job.id, deepcopy(self.found))

    def _add(self, found: Finding | None) -> None:
        for name, values in ({} if found is None else found.take()).items():
            self.found[name] = add_up(self.found.get(name, {}), values)
