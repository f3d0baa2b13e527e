"""The dry run of a backfill: how many rows and bytes it would read, and how long that would take. It only reads."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from cdc_daemon.cassandra.ring import RING, Estimate, TokenRange, merge
from cdc_daemon.cassandra.scan import TokenScan, weigh
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.requests.errors import UnknownObjectTypeError
from cdc_daemon.store.range_jobs import JobProgress, RangeJob
from cdc_daemon.tablejobs.range_job import JobRequest

COUNTED_ROWS = 10_000
"""A table with at most so many rows is counted. Of a larger one, so many rows are read first, and then the probes."""

COUNTED_BYTES = 16 * 1024 * 1024
"""The maximum size of the rows that are read before the probes."""

PROBES = 24
"""The number of random places of the ring that are read of a larger table: the error shrinks with its square root."""

PROBE_ROWS = 100
"""The rows of a page of a probe. Its density of rows on the ring is the estimate."""

PROBE_PAGES = 10
"""The maximum pages of a probe. It ends with the first whole partition."""

GOOD = 0.15
"""The relative error (of twice the standard error) up to which an estimate is called good."""

_LEAST_ROWS, _LEAST_SECONDS = 1000, 1.0
"""The smallest backfill whose rate is used."""


class Estimates(Protocol):
    """Cassandra's own estimates of tables."""

    async def estimate(self, table: TableName) -> Estimate:
        """Return the partitions of the whole ring and the bytes of one; zeros if there is no estimate."""
        ...


class FinishedJobs(Protocol):
    """The jobs that are stored."""

    def newest(self, *, limit: int = 100) -> Sequence[RangeJob]:
        """Return the newest jobs, newest first."""
        ...

    def progress(self, identity: str) -> JobProgress:
        """Return a job's progress."""
        ...


class RateBasis(NamedTuple):
    """Rows per second, and where the number comes from: `last_backfill`, `reading` or `limit`."""

    rows_per_second: float
    basis: str


@dataclass(slots=True)
class Sample:
    """The rows that were read of a table. `density` is rows per token, None if nothing is known.

    `error` is twice the relative standard error of the density. With `uneven`, some partitions were larger than what
    a probe reads. `bytes_per_row` is None if the values were not read.
    """

    rows_read: int = 0
    seconds: float = 0.0
    density: float | None = None
    error: float = math.inf
    counted: bool = False
    uneven: bool = False
    bytes_per_row: float | None = None


class BackfillEstimator:
    """Estimates backfills. `scan` makes a scan with pages of that many rows, `plan` the plan of a new index.

    A small table is counted. Of a larger one, rows at random places of the ring are read: their density is the
    estimate, and its spread the error. The time is that of the last backfill, scaled by the rows. Without one it is the
    time of reading alone. Nothing is written anywhere.
    """

    def __init__(
        self,
        estimates: Estimates,
        scan: Callable[[int], TokenScan],
        jobs: FinishedJobs,
        tables: Mapping[str, TableName],
        *,
        rate: float | None,
        ranges_at_once: int,
        plan: Callable[[str], Awaitable[Mapping[str, Any]]],
        chance: random.Random | None = None,
    ) -> None:
        self._estimates = estimates
        self._scan = scan
        self._jobs = jobs
        self._tables = tables
        self._rate = rate
        self._ranges_at_once = ranges_at_once
        self._plan = plan
        self._chance = chance or random.Random()  # noqa: S311 -- not a secret

    async def estimate(self, request: JobRequest) -> Mapping[str, Any]:
        """Return the estimate for each type of a request, and their total. No types mean all.

        Raises `UnknownObjectTypeError`, `IndexSwapError`, `CassandraUnavailableError` and `CassandraRefusedError`.
        """
        for object_type in request.types:
            if object_type not in self._tables:
                raise UnknownObjectTypeError(object_type, self._tables)
        found = {each: await self._of(each, request) for each in request.types or sorted(self._tables)}
        total = {name: _sum(each[name] for each in found.values()) for name in ("rows", "bytes", "seconds")}
        return {"dry_run": True, "types": found, "total": total}

    async def _of(self, object_type: str, request: JobRequest) -> dict[str, Any]:
        table = self._tables[object_type]
        wanted = merge(request.wanted)
        width = sum(each.width for each in wanted)
        own = await self._estimates.estimate(table)
        partitions = own.partitions * width / RING
        sample = await self._sample(table, wanted)
        rows = _rows(sample, width, partitions, own)
        size = sample.bytes_per_row if sample.bytes_per_row is not None else _bytes_per_row(own, rows, partitions)
        rate = self._rate_of(object_type, request, sample)
        notes = list(_notes(sample, rate, own, table))
        found = {
            "rows": round(rows),
            "bytes": None if size is None else round(rows * size),
            "seconds": None if rate is None else round(rows / rate.rows_per_second, 1),
            "certainty": "counted" if sample.counted else "good" if _is_good(sample) else "rough",
            "error": 0.0 if sample.counted else None if math.isinf(sample.error) else round(sample.error, 3),
            "sampled_rows": sample.rows_read,
            "rate": None if rate is None else {"rows_per_second": round(rate.rows_per_second, 1), "basis": rate.basis},
            "cassandra": {"partitions": round(partitions), "bytes": round(partitions * own.partition_bytes)}
            if own.partitions
            else None,
            "notes": notes,
        }
        return found | ({"new_index": dict(await self._plan(object_type))} if request.new_index else {})

    async def _sample(self, table: TableName, wanted: Sequence[TokenRange]) -> Sample:
        sample = Sample()
        first = await self._read_on(table, wanted, sample)
        if sample.counted:
            return sample
        probes = [probe for probe in [await self._probe(table, wanted, sample) for _ in range(PROBES)] if probe]
        sample.density, sample.error = density_of([*probes, first])
        return sample

    async def _read_on(self, table: TableName, wanted: Sequence[TokenRange], sample: Sample) -> tuple[int, int]:
        """Read rows from the beginning; return how many cover how many tokens.

        The table is counted if these are all.
        """
        began = time.monotonic()
        size, weighed, width, rows = 0.0, 0, 0, 0
        for each in wanted:
            covered = covered_rows = 0
            async for page in self._scan(COUNTED_ROWS).rows(table, each):
                sample.rows_read += len(page.keys)
                covered, covered_rows = page.covered - each.first, page.covered_rows
                if page.reading is not None and page.keys:
                    size += len(page.keys) * weigh([state.row or () for state in page.reading.states])
                    weighed += len(page.keys)
                if sample.rows_read > COUNTED_ROWS or size > COUNTED_BYTES:
                    break
            width, rows = width + covered, rows + covered_rows
            if covered < each.width:
                break
        sample.seconds = time.monotonic() - began
        sample.bytes_per_row = size / weighed if weighed else None
        total = sum(each.width for each in wanted)
        if width == total:
            sample.counted, sample.density = True, rows / total
        return rows, width

    async def _probe(self, table: TableName, wanted: Sequence[TokenRange], sample: Sample) -> tuple[int, int] | None:
        """Read rows at a random place; return how many cover how many tokens, None if a partition is larger."""
        place = self._chance.randrange(sum(each.width for each in wanted))
        for each in wanted:
            if place < each.width:
                rest = TokenRange(each.first + place, each.last)
                break
            place -= each.width
        else:
            raise AssertionError("a place outside all ranges")
        pages = 0
        async for page in self._scan(PROBE_ROWS).keys(table, rest):
            sample.rows_read += len(page.keys)
            pages += 1
            if page.covered > rest.first:
                return page.covered_rows, page.covered - rest.first
            if pages == PROBE_PAGES:
                break
        sample.uneven = True
        return None

    def _rate_of(self, object_type: str, request: JobRequest, sample: Sample) -> RateBasis | None:
        measured = self._last_rate(object_type)
        if measured is None and sample.rows_read and sample.seconds:
            measured = RateBasis(self._ranges_at_once * sample.rows_read / max(sample.seconds, 1e-3), "reading")
        limit = request.rate or self._rate
        if limit is not None and (measured is None or limit < measured.rows_per_second):
            return RateBasis(limit, "limit")
        return measured

    def _last_rate(self, object_type: str) -> RateBasis | None:
        """Return the rate of the newest backfill of a type, or else of any type."""
        others: RateBasis | None = None
        for job in self._jobs.newest(limit=100):
            if job.kind != "backfill" or job.state != "done" or job.options.get("count") or job.options.get("dry_run"):
                continue
            seconds = ((job.finished or 0) - (job.started or 0)) / 1e6
            rows = self._jobs.progress(job.id).rows
            if rows < _LEAST_ROWS or seconds < _LEAST_SECONDS:
                continue
            found = RateBasis(rows / seconds, "last_backfill")
            if object_type in job.options.get("types", ()):
                return found
            others = others or found
        return others


def density_of(probes: Sequence[tuple[int, int]]) -> tuple[float | None, float]:
    """Return the rows per token of probes, each given as rows and tokens, and twice the relative standard error.

    It is the ratio estimator: all rows divided by all tokens.
    """
    width = sum(tokens for _, tokens in probes)
    if not width:
        return None, math.inf
    density = sum(rows for rows, _ in probes) / width
    count = len(probes)
    if not density or count < 2:
        return density, math.inf
    spread = sum((rows - density * tokens) ** 2 for rows, tokens in probes) / (count * (count - 1))
    return density, 2 * math.sqrt(spread) / (density * width / count)


def _rows(sample: Sample, width: int, partitions: float, own: Estimate) -> float:
    """Return the estimated rows: by the sample, or by Cassandra's bytes where partitions are larger than a probe."""
    if sample.uneven and partitions and sample.bytes_per_row:
        return max(partitions * own.partition_bytes / sample.bytes_per_row, sample.rows_read)
    sampled = partitions if sample.density is None else sample.density * width
    return max(sampled, sample.rows_read) if sample.uneven else sampled


def _is_good(sample: Sample) -> bool:
    return sample.density is not None and not sample.uneven and sample.error <= GOOD


def _bytes_per_row(own: Estimate, rows: float, partitions: float) -> float | None:
    return partitions * own.partition_bytes / rows if own.partitions and rows else None


def _notes(sample: Sample, rate: RateBasis | None, own: Estimate, table: TableName) -> Iterator[str]:
    if not own.partitions:
        yield (
            f"the database has no estimate of {table}: nothing of it was written to disk yet, "
            "the estimate is not made yet (every five minutes), or the database makes none"
        )
    if sample.uneven:
        how = "its bytes, as Cassandra estimates them" if own.partitions else "the rows that were read: there are more"
        yield f"partitions are larger than what was sampled, so the number of rows is that of {how}"
    if rate is not None and rate.basis == "reading":
        yield "no backfill has been measured yet: the time is that of reading alone, and writing takes longer"


def _sum(values: Iterator[float | None]) -> float | None:
    listed = list(values)
    return None if any(each is None for each in listed) else sum(each for each in listed if each is not None)
