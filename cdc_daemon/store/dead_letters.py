"""What could not be used, kept with its reason so that nothing vanishes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cdc_daemon.store.database import Database

PAYLOAD_LIMIT = 16 * 1024 * 1024
"""Bytes kept of one dead letter: Cassandra's largest mutation is half a segment, 16 MiB by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One segment entry, mutation or document that could not be used.

    `kind` is what it is (`mutation`, `document`), `reason` a short stable name (an Elasticsearch
    `error.type`, an error class), `detail` the whole story as a JSON-ready mapping. `payload` holds a
    mutation's bytes; a document has none: its row is read again when it is replayed.
    """

    kind: str
    reason: str
    detail: Mapping[str, Any]
    keyspace: str | None = None
    table: str | None = None
    partition_key: bytes | None = None
    clustering: Sequence[bytes | None] | None = None
    segment_id: int | None = None
    position: int | None = None
    payload: bytes | None = None
    id: int | None = None
    at: int | None = None
    """Microseconds since epoch at which it was set aside."""


class DeadLetters:
    """The durable list of dead letters, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Set letters aside durably, all or none."""
        now = time.time_ns() // 1000
        rows = [
            (
                letter.at or now,
                letter.kind,
                letter.reason,
                letter.keyspace,
                letter.table,
                letter.partition_key,
                _encode_clustering(letter.clustering),
                letter.segment_id,
                letter.position,
                orjson.dumps(letter.detail, default=str).decode(),
                None if letter.payload is None else letter.payload[:PAYLOAD_LIMIT],
            )
            for letter in letters
        ]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO dead_letter (at, kind, reason, keyspace_name, table_name, partition_key, clustering, "
                "segment_id, position, detail, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def count(self) -> int:
        """Return how many there are."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM dead_letter").fetchone()[0])

    def list(self, *, limit: int = 100) -> Iterator[DeadLetter]:
        """Return the newest `limit` letters, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, at, kind, reason, keyspace_name, table_name, partition_key, clustering, segment_id, "
                "position, detail, payload FROM dead_letter ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        for row in rows:
            yield DeadLetter(
                id=row[0],
                at=row[1],
                kind=row[2],
                reason=row[3],
                keyspace=row[4],
                table=row[5],
                partition_key=row[6],
                clustering=_decode_clustering(row[7]),
                segment_id=row[8],
                position=row[9],
                detail=orjson.loads(row[10]),
                payload=row[11],
            )


def _encode_clustering(clustering: Sequence[bytes | None] | None) -> bytes | None:
    if clustering is None:
        return None
    return orjson.dumps([None if part is None else part.hex() for part in clustering])


def _decode_clustering(text: bytes | None) -> tuple[bytes | None, ...] | None:
    if text is None:
        return None
    return tuple(None if part is None else bytes.fromhex(part) for part in orjson.loads(text))
