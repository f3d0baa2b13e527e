"""Sync jobs: requests for rows by id, stored in parts until each part is processed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from cdc_daemon.store.database import Database

KEPT_SECONDS = 7 * 86400.0
"""Retention of finished jobs."""

KEPT_FAILURES = 1000
"""Maximum number of failure reasons stored per job. The number of failures is always exact."""

_COLUMNS = (
    "id, kind, object_type, refresh, state, message, created, started, finished, "
    "total, settled, indexed, deleted, missing, failed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncJob:
    """One job and its progress.

    `state` is `queued`, `running`, `done`, `cancelled`, or `failed` with a `message` if it could not be done at all.
    `total` counts the ids, `settled` the processed ones, and `failed` those whose documents could not be written.
    `indexed`, `deleted` and `missing` count documents. Times are in microseconds since epoch.
    """

    id: str
    kind: str
    object_type: str
    refresh: str = "false"
    state: str = "queued"
    message: str | None = None
    created: int = 0
    started: int | None = None
    finished: int | None = None
    total: int = 0
    settled: int = 0
    indexed: int = 0
    deleted: int = 0
    missing: int = 0
    failed: int = 0

    @property
    def open(self) -> bool:
        """Whether the job is unfinished."""
        return self.state in {"queued", "running"}


@dataclass(frozen=True, slots=True)
class SyncJobPart:
    """Ids of a job that are processed together. `number` is the part's position in the job."""

    number: int
    ids: Sequence[Any]


class SyncJobs:
    """The jobs, oldest first, and their unprocessed parts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, job: SyncJob, ids: Sequence[Any], *, part: int, limit: int, refused: Mapping[str, str] | None = None
    ) -> SyncJob | None:
        """Store a new job durably, with its ids in parts of `part`; return None if `limit` jobs are open already.

        `refused` are the lines of a file without a valid id, with the reasons: they are failures from the beginning.
        Finished jobs older than `KEPT_SECONDS` are deleted.
        """
        now = _now()
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM job WHERE finished < ?", (now - int(KEPT_SECONDS * 1e6),))
            (count,) = connection.execute("SELECT count(*) FROM job WHERE finished IS NULL").fetchone()
            if count >= limit:
                return None
            bad = refused or {}
            total = len(ids) + len(bad)
            connection.execute(
                "INSERT INTO job (id, kind, object_type, refresh, state, created, total, settled, failed) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?)",
                (job.id, job.kind, job.object_type, job.refresh, now, total, len(bad), len(bad)),
            )
            connection.executemany(
                "INSERT INTO job_failure (job, label, reason) VALUES (?, ?, ?)",
                [(job.id, *failure) for failure in list(bad.items())[:KEPT_FAILURES]],
            )
            connection.executemany(
                "INSERT INTO job_part VALUES (?, ?, ?)",
                [
                    (job.id, number, orjson.dumps(ids[start : start + part]).decode())
                    for number, start in enumerate(range(0, len(ids), part))
                ],
            )
        return replace(job, created=now, total=total, settled=len(bad), failed=len(bad))

    def get(self, identity: str) -> SyncJob | None:
        """Return a job, or None if there is none with this id."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM job WHERE id = ?",  # noqa: S608 -- a constant
                (identity,),
            ).fetchone()
        return None if row is None else _job(row)

    def failures(self, identity: str, *, limit: int = 100) -> dict[str, str]:
        """Return the first failures of a job: the id's label, and why its documents could not be written."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT label, reason FROM job_failure WHERE job = ? ORDER BY number LIMIT ?", (identity, limit)
            ).fetchall()
        return dict(rows)

    def newest(self, *, limit: int = 100) -> Iterator[SyncJob]:
        """Yield the newest jobs, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM job ORDER BY created DESC, id LIMIT ?",  # noqa: S608 -- a constant
                (limit,),
            ).fetchall()
        return map(_job, rows)

    def count_open(self) -> tuple[int, int]:
        """Return the number of unfinished jobs, and when the newest job was created (0 if there is none)."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT count(*) FILTER (WHERE finished IS NULL), coalesce(max(created), 0) FROM job"
            ).fetchone()
        return row[0], row[1]

    def open_types(self, kind: str) -> frozenset[str]:
        """Return the object types of a kind's unfinished jobs."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT object_type FROM job WHERE kind = ? AND finished IS NULL", (kind,)
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def next_open(self, kind: str, object_type: str, *, after: SyncJob | None = None) -> SyncJob | None:
        """Return the oldest unfinished job of a kind and type that was created later than the job `after`.

        If there is none, return the oldest unfinished job, so that the jobs are processed in turns.
        """
        place = (0, "") if after is None else (after.created, after.id)
        with self._database.reading() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM job WHERE kind = ? AND object_type = ? AND finished IS NULL "  # noqa: S608
                "ORDER BY (created, id) <= (?, ?), created, id LIMIT 1",
                (kind, object_type, *place),
            ).fetchone()
        return None if row is None else _job(row)

    def next_part(self, identity: str) -> SyncJobPart | None:
        """Return the first unprocessed part of a job, and mark the job as running."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE job SET state = 'running', started = ? WHERE id = ? AND started IS NULL AND finished IS NULL",
                (_now(), identity),
            )
            row = connection.execute(
                "SELECT number, ids FROM job_part WHERE job = ? ORDER BY number LIMIT 1", (identity,)
            ).fetchone()
        return None if row is None else SyncJobPart(row[0], orjson.loads(row[1]))

    def complete_part(
        self,
        identity: str,
        part: SyncJobPart,
        *,
        indexed: int = 0,
        deleted: int = 0,
        missing: int = 0,
        failures: Mapping[str, str],
    ) -> None:
        """Record durably that a part is processed. Idempotent: a part is counted once."""
        with self._database.transaction() as connection:
            removed = connection.execute("DELETE FROM job_part WHERE job = ? AND number = ?", (identity, part.number))
            if not removed.rowcount:
                return
            connection.execute(
                "UPDATE job SET settled = settled + ?, indexed = indexed + ?, deleted = deleted + ?, "
                "missing = missing + ?, failed = failed + ? WHERE id = ?",
                (len(part.ids), indexed, deleted, missing, len(failures), identity),
            )
            (stored,) = connection.execute("SELECT count(*) FROM job_failure WHERE job = ?", (identity,)).fetchone()
            connection.executemany(
                "INSERT INTO job_failure (job, label, reason) VALUES (?, ?, ?)",
                [(identity, *failure) for failure in list(failures.items())[: max(0, KEPT_FAILURES - stored)]],
            )

    def finish(self, identity: str, *, message: str | None = None) -> bool:
        """Record durably that a job is done, or has failed for the reason in `message`.

        Return False if it had already ended: a cancelled job stays cancelled.
        """
        return self._end(identity, "done" if message is None else "failed", message)

    def cancel(self, identity: str) -> bool:
        """Record durably that a job is cancelled; return False if it has already ended or does not exist."""
        return self._end(identity, "cancelled", None)

    def _end(self, identity: str, state: str, message: str | None) -> bool:
        """Record the end of a job. A job that has already ended stays unchanged."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM job_part WHERE job = ?", (identity,))
            changed = connection.execute(
                "UPDATE job SET state = ?, message = ?, finished = ? WHERE id = ? AND finished IS NULL",
                (state, message, _now(), identity),
            )
            return changed.rowcount > 0


def _job(row: tuple[Any, ...]) -> SyncJob:
    return SyncJob(**dict(zip(_COLUMNS.split(", "), row, strict=True)))


def _now() -> int:
    return time.time_ns() // 1000
