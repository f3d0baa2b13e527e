"""A job on whole tables: its request, and its run with pace, progress and findings."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Self

from cdc_daemon.cassandra.paging import ScanThrottle
from cdc_daemon.cassandra.ring import WHOLE_RING, TokenRange, parse_range
from cdc_daemon.store.range_jobs import ROWS, JobProgress, JobRange, RangeJob, RangeJobs
from cdc_daemon.tablejobs.findings import RangeFindings, add_reports

SAVED_EVERY = 1.0
"""Seconds between two durable records of a range's progress: the maximum that a crash repeats."""


JobKind = Literal["backfill", "catch_up", "reconcile", "deletes"]
JobOrigin = Literal["operator", "first_copy", "gap", "possible_gap", "audit", "deletes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job for the tables of some object types.

    `ranges` are the tokens to process; none stands for the whole ring. `sample` is the random fraction of them that is
    processed, 0 to 1. `rate` limits the rows a second. With `count`, a backfill only counts. With `new_index`, it
    fills a new index beside the live one, compares it with the rows, and swaps it in. With `repair`, a reconcile
    repairs each difference, and then closes its `requests`. A job of the kind `catch_up` writes the documents of rows
    that changed at `since` or later (microseconds since epoch). A job of the kind `deletes` removes the documents of
    rows that no longer exist.
    """

    kind: JobKind
    types: tuple[str, ...]
    origin: JobOrigin = "operator"
    ranges: tuple[TokenRange, ...] = ()
    rate: float | None = None
    count: bool = False
    new_index: bool = False
    repair: bool = False
    sample: float = 1.0
    requests: tuple[int, ...] = ()
    since: int = 0

    @property
    def wanted(self) -> Sequence[TokenRange]:
        """The tokens to process, before sampling."""
        return self.ranges or (WHOLE_RING,)

    def options(self) -> Mapping[str, Any]:
        """Return the options as plain values."""
        plain: dict[str, Any] = {"types": list(self.types), "ranges": [str(each) for each in self.ranges]}
        plain |= {"rate": self.rate}
        if self.kind == "backfill":
            return plain | {"count": self.count} | ({"new_index": True} if self.new_index else {})
        if self.kind == "deletes":
            return plain
        if self.kind == "catch_up":
            return plain | {"since": self.since}
        plain |= {"repair": self.repair, "sample": self.sample}
        return plain | {"requests": list(self.requests)} if self.requests else plain

    @classmethod
    def of(cls, kind: JobKind, origin: JobOrigin, options: Mapping[str, Any]) -> Self:
        """Return the request for `options`. Raises `ConfigError` for invalid ranges."""
        # Earlier releases called it a dry run. A job that they stored still only counts.
        count = bool(options.get("count", False) or options.get("dry_run", False))
        return cls(
            kind=kind,
            types=tuple(options["types"]),
            origin=origin,
            ranges=tuple(parse_range(each) for each in options.get("ranges") or ()),
            rate=options.get("rate"),
            count=count,
            new_index=bool(options.get("new_index", False)) and not count,
            repair=bool(options.get("repair", False)),
            sample=float(options.get("sample", 1.0)),
            requests=tuple(options.get("requests") or ()),
            since=int(options.get("since", 0)),
        )


def take_sample(token_range: TokenRange, part: float, chance: random.Random) -> TokenRange:
    """Return a randomly placed piece of a range that has this fraction of its tokens."""
    width = max(1, min(token_range.width, round(token_range.width * part)))
    first = token_range.first + chance.randint(0, token_range.width - width)
    return TokenRange(first, first + width)


class JobRun:
    """One job that runs in this process. Its methods raise `StoreError`."""

    def __init__(self, job: RangeJob, request: JobRequest, store: RangeJobs, progress: JobProgress) -> None:
        self.job = job
        self.request = request
        self.pace = ScanThrottle(request.rate)
        self.found: dict[str, Any] = dict(job.report)
        """The findings in the processed ranges, in plain values. The next `move` stores them."""
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
    def progress(self) -> JobProgress:
        """The progress of the job."""
        return self._progress

    @property
    def resumed(self) -> bool:
        """Whether an earlier process or attempt has processed a part of the job."""
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
        found: RangeFindings | None = None,
        now: bool = False,
        sums: bytes | None = None,
    ) -> None:
        """Record that a range is processed up to a token, the findings since the previous record, and the rows' `sums`.

        All are stored in one transaction, so that nothing is counted twice when the rest is repeated after a crash.
        They are stored every `SAVED_EVERY` seconds, at the end of the range, and at once with `now`.
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
            report = deepcopy(self.found) or None  # a copy: findings may be added while the thread stores it
            stored = None if sums is None else (part.object_type, sums)
            await asyncio.to_thread(
                self._store.move, self.job.id, part.number, cursor, rows, done=done, report=report, sums=stored
            )
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
        """Return whether each range of a type and a side is processed."""
        unfinished = await asyncio.to_thread(self._store.open_ranges, self.job.id)
        return not any(part.object_type == object_type and part.side == side for part in unfinished)

    async def sums(self, object_type: str) -> bytes | None:
        """Return the stored sums of the rows of a type, or None if there are none."""
        return await asyncio.to_thread(self._store.sums, self.job.id, object_type)

    def beside(self) -> JobRun:
        """Return a run of the same job for work outside its ranges. It records findings but no progress."""
        beside = JobRun(self.job, self.request, self._store, self._progress)
        beside.pace, beside.found, beside._is_beside = self.pace, self.found, True
        return beside

    async def store_findings(self) -> None:
        """Store the findings durably."""
        async with self._moving:
            await asyncio.to_thread(self._store.report, self.job.id, deepcopy(self.found))

    def _add(self, found: RangeFindings | None) -> None:
        for name, values in ({} if found is None else found.take()).items():
            self.found[name] = add_reports(self.found.get(name, {}), values)
