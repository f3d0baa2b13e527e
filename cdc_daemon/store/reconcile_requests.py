"""Requested reconciles: lost sections of the log, stored until their rows are compared with the documents."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from cdc_daemon.store.database import Database
from cdc_daemon.values.messages import json_bytes

KEPT_CLOSED = 1000
"""Number of closed requests kept as history."""

_FIELDS = (
    "reason, segment_id, from_position, to_position, to_segment_id, since, until, keyspace_name, table_name, "
    "detail, first_requested, requested, times, settled"
)


class ReconcileReason(StrEnum):
    """Why changes may be lost."""

    DAMAGE = "damage"
    """A part of a segment cannot be read."""

    QUARANTINE = "quarantine"
    """A whole segment cannot be read and was quarantined."""

    GAP = "gap"
    """Segments are missing, or may be."""

    DROPPED_SEGMENTS = "dropped_segments"
    """The daemon deleted segments before it read them, to free space for Cassandra."""

    CDC_OFF = "cdc_off"
    """CDC was off for a table for a while: its changes are in no segment."""

    ALTERED = "altered"
    """A table was altered in an unknown way, so CDC may have been off for a while."""

    KEY = "key"
    """A table was re-created with another primary key, so all stored state about its rows is invalid."""

    REPLICA_DOWN = "replica_down"
    """A node went down that owned more recent changes than the daemon remembered. Earlier versions requested it."""

    TABLE = "table"
    """A table was truncated or re-created and its documents must be rebuilt, or it did not exist for a while."""

    LATE_REQUESTS = "late_requests"
    """Lost bulk requests contained more documents than can be remembered; some requests may have been applied late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRequest:
    """One section of the log with changes that were lost or may be lost.

    It begins at `from_position` (logical bytes) of segment `segment_id` and ends at `to_position` of the same
    segment, or, if `to_segment_id` is given, before that segment; None for an unknown end.
    Segment 0 stands for changes that are in no segment.
    `since` and `until` bound the write times of the lost changes (microseconds since epoch), None if
    unknown. `keyspace` and `table` name the only table concerned; None means all mapped tables. `detail` is the
    cause as a JSON-ready mapping.

    `requested` is the time of the last request, `first_requested` of the first (microseconds since
    epoch), `times` the number of requests. Only a comparison that began after `requested` may close it.
    """

    reason: ReconcileReason
    segment_id: int
    from_position: int = 0
    to_position: int | None = None
    to_segment_id: int | None = None
    since: int | None = None
    until: int | None = None
    keyspace: str | None = None
    table: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None
    first_requested: int | None = None
    requested: int | None = None
    times: int = 1
    settled: int | None = None

    @property
    def ends(self) -> bool:
        """Whether the end of the lost section is known, so that the section cannot have grown since."""
        return self.to_position is not None or self.to_segment_id is not None

    @property
    def possible(self) -> bool:
        """Whether the changes may be lost, without certainty."""
        return self.reason is ReconcileReason.GAP and self.detail.get("certain") is False

    def __str__(self) -> str:
        if self.segment_id == 0 and self.table is not None:
            return f"{self.reason.value} of {self.keyspace}.{self.table}"
        if self.reason is ReconcileReason.REPLICA_DOWN:
            return f"{self.reason.value} of every table"
        until = "an unknown end"
        if self.to_segment_id is not None:
            until = f"segment {self.to_segment_id}"
        elif self.to_position is not None:
            until = f"{self.segment_id}:{self.to_position}"
        of = "" if self.keyspace is None else f" of {self.keyspace}.{self.table}"
        reason = f"possible {self.reason.value}" if self.possible else self.reason.value
        return f"{reason} from {self.segment_id}:{self.from_position} up to {until}{of}"


class ReconcileRequests:
    """The durable list of requested reconciles. Methods block and raise `StoreError`.

    Open requests with the same reason, segment and table are merged into one that covers both sections. The merged
    request has a new id, so that a reconcile that began before the second request does not close it. A closed section
    with a known end is not requested again: nothing can have been added to it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            self._counts = _count(connection)

    @property
    def counts(self) -> Mapping[ReconcileReason, int]:
        """Number of open requests by reason. Reads memory only."""
        return self._counts

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        """Store requests durably, all or none."""
        now = time.time_ns() // 1000
        with self._database.transaction() as connection:
            for request in requests:
                if not _is_closed(connection, request):
                    _add(connection, request, now)
            counts = _count(connection)
        self._counts = counts

    def open(self) -> list[ReconcileRequest]:
        """Return the open requests, oldest first."""
        with self._database.reading() as connection:
            return read_open_requests(connection)

    def close(self, ids: Collection[int]) -> None:
        """Close requests durably: their sections were compared with Cassandra and repaired."""
        now = time.time_ns() // 1000
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE reconcile_request SET settled = ? WHERE id = ? AND settled IS NULL",
                [(now, each) for each in ids],
            )
            connection.execute(
                "DELETE FROM reconcile_request WHERE id IN (SELECT id FROM reconcile_request "
                "WHERE settled IS NOT NULL ORDER BY settled DESC, id DESC LIMIT -1 OFFSET ?)",
                (KEPT_CLOSED,),
            )
            counts = _count(connection)
        self._counts = counts


def read_open_requests(connection: sqlite3.Connection) -> list[ReconcileRequest]:
    """Return the open requests of an open store, oldest first."""
    rows = connection.execute(
        f"SELECT id, {_FIELDS} FROM reconcile_request WHERE settled IS NULL ORDER BY first_requested, id"  # noqa: S608
    )
    return [_request(row) for row in rows]


def _add(connection: sqlite3.Connection, request: ReconcileRequest, now: int) -> None:
    merged = replace(request, first_requested=now, requested=now)
    row = connection.execute(
        f"SELECT id, {_FIELDS} FROM reconcile_request WHERE settled IS NULL AND {_SAME_PLACE}",  # noqa: S608
        _place(request),
    ).fetchone()
    if row is not None:
        merged = replace(_union(_request(row), request), requested=now)
        connection.execute("DELETE FROM reconcile_request WHERE id = ?", (merged.id,))
    connection.execute(
        f"INSERT INTO reconcile_request ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",  # noqa: S608
        (
            merged.reason.value,
            merged.segment_id,
            merged.from_position,
            merged.to_position,
            merged.to_segment_id,
            merged.since,
            merged.until,
            merged.keyspace,
            merged.table,
            json_bytes(merged.detail).decode(),
            merged.first_requested,
            merged.requested,
            merged.times,
        ),
    )


_SAME_PLACE = "reason = ? AND segment_id = ? AND keyspace_name IS ? AND table_name IS ?"


def _place(request: ReconcileRequest) -> tuple[str, int, str | None, str | None]:
    return request.reason.value, request.segment_id, request.keyspace, request.table


def _is_closed(connection: sqlite3.Connection, request: ReconcileRequest) -> bool:
    """Return whether a closed request covers the whole section."""
    if not request.ends:
        return False
    rows = connection.execute(
        f"SELECT id, {_FIELDS} FROM reconcile_request WHERE settled IS NOT NULL AND {_SAME_PLACE}",  # noqa: S608
        _place(request),
    )
    return any(closed.ends and _union(closed, request) == _union(closed, closed) for closed in map(_request, rows))


def _union(one: ReconcileRequest, other: ReconcileRequest) -> ReconcileRequest:
    """Return the section that covers both, with the cause of the first, or of the certain one."""
    return replace(
        one,
        detail=other.detail if one.possible and not other.possible else one.detail,
        from_position=min(one.from_position, other.from_position),
        to_position=_furthest(one.to_position, other.to_position, one, other),
        to_segment_id=_furthest(one.to_segment_id, other.to_segment_id, one, other),
        since=None if one.since is None or other.since is None else min(one.since, other.since),
        until=None if one.until is None or other.until is None else max(one.until, other.until),
        times=one.times + 1,
    )


def _furthest(one: int | None, other: int | None, *requests: ReconcileRequest) -> int | None:
    """Return the later end. An unknown end is the latest."""
    if not all(request.ends for request in requests):
        return None
    return max((end for end in (one, other) if end is not None), default=None)


def _count(connection: sqlite3.Connection) -> dict[ReconcileReason, int]:
    rows = connection.execute("SELECT reason FROM reconcile_request WHERE settled IS NULL").fetchall()
    found = Counter(reason for (reason,) in rows)
    return {reason: found[reason.value] for reason in ReconcileReason}


def _request(row: tuple[Any, ...]) -> ReconcileRequest:
    return ReconcileRequest(
        id=row[0],
        reason=ReconcileReason(row[1]),
        segment_id=row[2],
        from_position=row[3],
        to_position=row[4],
        to_segment_id=row[5],
        since=row[6],
        until=row[7],
        keyspace=row[8],
        table=row[9],
        detail=orjson.loads(row[10]),
        first_requested=row[11],
        requested=row[12],
        times=row[13],
        settled=row[14],
    )
