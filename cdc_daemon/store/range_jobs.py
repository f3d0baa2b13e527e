"""Long jobs on whole tables, one token range at a time. Progress is stored, so a job resumes after any interruption."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from cdc_daemon.store.database import Database

KEPT_SECONDS = 7 * 86400.0
"""Retention of finished jobs."""

OPEN_STATES = ("queued", "running")

_JOB = "id, kind, origin, options, state, message, created, started, finished, report"
_RANGE = "number, object_type, first, last, cursor, done, rows, side"

ROWS = "rows"
CHECK = "check"
DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeJob:
    """One job that walks tables (`backfill`, `reconcile` or another kind) and its progress.

    `origin` is who requested it: `operator`, `first_copy`, `gap`, `possible_gap`, `audit` or `deletes`. `state` is
    `queued`, `running`, `done`, `cancelled`, or `failed` with a `message`. `options` are the request's options,
    `report` the results so far, both plain values. Times are in microseconds since epoch.
    """

    id: str
    kind: str
    origin: str = "operator"
    options: Mapping[str, Any] = field(default_factory=dict)
    state: str = "queued"
    message: str | None = None
    created: int = 0
    started: int | None = None
    finished: int | None = None
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether the job is unfinished."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRange:
    """The tokens above `first` up to `last` of the table of one object type, in one job.

    Everything up to `cursor` is processed: `rows` rows. If `side` is `check`, rows that were processed before are
    compared with their documents. If it is `documents`, the job walks all documents of the type instead. The tokens
    then only measure progress.
    """

    number: int
    object_type: str
    first: int
    last: int
    cursor: int
    done: bool = False
    rows: int = 0
    side: str = ROWS


class JobProgress(NamedTuple):
    """Progress of a job: its ranges, and the tokens and rows processed."""

    ranges: int
    ranges_done: int
    tokens: float
    tokens_done: float
    rows: int

    @property
    def fraction(self) -> float:
        """The processed fraction, 0 to 1, estimated by tokens: rows are spread evenly over tokens."""
        return self.tokens_done / self.tokens if self.tokens else 1.0


class RangeJobs:
    """The jobs and their ranges. Methods block for the disk and raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: RangeJob, ranges: Iterable[tuple[str, int, int, str]], *, limit: int) -> RangeJob | None:
        """Store a new job with its ranges (object type, first, last, side). None if `limit` jobs are open already."""
        now = _now()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM range_job WHERE finished < ?", (now - int(KEPT_SECONDS * 1e6),))
            (count,) = connection.execute("SELECT count(*) FROM range_job WHERE finished IS NULL").fetchone()
            if count >= limit:
                return None
            connection.execute(
                "INSERT INTO range_job (id, kind, origin, options, state, created, report) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?)",
                (job.id, job.kind, job.origin, _encode(job.options), now, _encode(job.report)),
            )
            connection.executemany(
                "INSERT INTO job_range (job, number, object_type, first, last, side, cursor) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(job.id, number, *each, each[1]) for number, each in enumerate(ranges)],
            )
        return self.get(job.id)

    def count_open(self) -> tuple[int, int]:
        """Return the number of unfinished jobs, and when the newest job was created (0 if there is none)."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE finished IS NULL), coalesce(max(created), 0) FROM range_job"
            ).fetchone()
        return row[0], row[1]

    def get(self, identity: str) -> RangeJob | None:
        """Return a job, or None if there is none with this id."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_JOB} FROM range_job WHERE id = ?",  # noqa: S608 -- a constant
                (identity,),
            ).fetchone()
        return None if row is None else _job(row)

    def newest(self, *, limit: int = 100) -> Sequence[RangeJob]:
        """Return the newest jobs, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_JOB} FROM range_job ORDER BY created DESC, rowid DESC LIMIT ?",  # noqa: S608
                (limit,),
            ).fetchall()
        return [_job(row) for row in rows]

    def open_jobs(self) -> Sequence[RangeJob]:
        """Return the unfinished jobs, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_JOB} FROM range_job WHERE finished IS NULL ORDER BY created, rowid"  # noqa: S608
            ).fetchall()
        return [_job(row) for row in rows]

    def progress(self, identity: str) -> JobProgress:
        """Return a job's progress."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(done), 0), coalesce(sum(CAST(last AS REAL) - first), 0), "
                "coalesce(sum(CAST(cursor AS REAL) - first), 0), coalesce(sum(rows) FILTER (WHERE side = 'rows'), 0) "
                "FROM job_range WHERE job = ?",
                (identity,),
            ).fetchone()
        return JobProgress(*row)

    def rows_by_type(self, identity: str) -> Mapping[str, int]:
        """Return the number of rows processed by object type."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT object_type, sum(rows) FROM job_range WHERE job = ? AND side = 'rows' "
                "GROUP BY object_type ORDER BY object_type",
                (identity,),
            ).fetchall()
        return dict(rows)

    def open_ranges(self, identity: str) -> Sequence[JobRange]:
        """Return the unfinished ranges of a job, in order."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_RANGE} FROM job_range WHERE job = ? AND NOT done ORDER BY number",  # noqa: S608
                (identity,),
            ).fetchall()
        return [_range(row) for row in rows]

    def begin(self, identity: str) -> None:
        """Record that a job is running."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE range_job SET state = 'running', started = ? WHERE id = ? AND state = 'queued'",
                (_now(), identity),
            )

    def move(
        self,
        identity: str,
        number: int,
        cursor: int,
        rows: int,
        *,
        done: bool = False,
        report: Mapping[str, Any] | None = None,
        sums: tuple[str, bytes] | None = None,
    ) -> None:
        """Record that a range is processed up to `cursor` (`rows` rows in all), together with the results so far.

        `sums` are an object type and the sums of its rows so far.
        """
        packed = None if sums is None else zlib.compress(sums[1], 1)
        with self._database.transaction() as connection:
            if sums is not None:
                connection.execute(
                    "INSERT INTO job_sums (job, object_type, sums) VALUES (?, ?, ?) "
                    "ON CONFLICT (job, object_type) DO UPDATE SET sums = excluded.sums",
                    (identity, sums[0], packed),
                )
            if report is not None:
                connection.execute("UPDATE range_job SET report = ? WHERE id = ?", (_encode(report), identity))
            connection.execute(
                "UPDATE job_range SET cursor = ?, rows = ?, done = ? WHERE job = ? AND number = ?",
                (cursor, rows, done, identity, number),
            )

    def sums(self, identity: str, object_type: str) -> bytes | None:
        """Return the sums of the rows of an object type so far, or None if there are none."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT sums FROM job_sums WHERE job = ? AND object_type = ?", (identity, object_type)
            ).fetchone()
        return None if row is None else zlib.decompress(row[0])

    def latest(self, origin: str, types: Sequence[str]) -> tuple[RangeJob | None, RangeJob | None]:
        """Return the newest job of an origin for exactly these types, and the newest one of them that is done."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_JOB} FROM range_job WHERE origin = ? AND json_extract(options, '$.types') = json(?) "  # noqa: S608
                "ORDER BY created DESC, rowid DESC",
                (origin, orjson.dumps(list(types)).decode()),
            ).fetchall()
        jobs = [_job(row) for row in rows]
        return next(iter(jobs), None), next((job for job in jobs if job.state == "done"), None)

    def keep_latest(self, origin: str, types: Sequence[str]) -> None:
        """Delete the jobs that `latest` does not return: a job that runs every hour would hide all others in lists."""
        kept = [job.id for job in self.latest(origin, types) if job is not None]
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM range_job WHERE origin = ? AND json_extract(options, '$.types') = json(?) "
                "AND finished IS NOT NULL AND id NOT IN (SELECT value FROM json_each(?))",
                (origin, orjson.dumps(list(types)).decode(), orjson.dumps(kept).decode()),
            )

    def report(self, identity: str, report: Mapping[str, Any]) -> None:
        """Record the results so far."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE range_job SET report = ? WHERE id = ?", (_encode(report), identity))

    def finish(self, identity: str, state: str, *, message: str | None = None) -> bool:
        """Record that a job has ended as `done`, `failed` or `cancelled`; return False if it had already ended."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE range_job SET state = ?, message = ?, finished = ? WHERE id = ? AND finished IS NULL",
                (state, message, _now(), identity),
            )
            return changed.rowcount > 0


def _encode(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _job(row: tuple[Any, ...]) -> RangeJob:
    named = dict(zip(_JOB.split(", "), row, strict=True))
    return RangeJob(**named | {name: orjson.loads(named[name]) for name in ("options", "report")})


def _range(row: tuple[Any, ...]) -> JobRange:
    named = dict(zip(_RANGE.split(", "), row, strict=True))
    return JobRange(**named | {"done": bool(named["done"])})


def _now() -> int:
    return time.time_ns() // 1000
