"""Dead letters: data that could not be processed, stored with the reason so that nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from cdc_daemon.store.database import Database, decode_clustering, encode_clustering
from cdc_daemon.store.dead_letter_filter import EVERYTHING, DeadLetterFilter
from cdc_daemon.values.messages import cut, json_bytes

PAYLOAD_LIMIT = 16 * 1024 * 1024
"""Maximum payload of one dead letter in bytes: Cassandra's largest mutation is half a segment, 16 MiB by default."""

DOCUMENT_START = 2048
"""Bytes kept of a failed document, or of its row: enough to diagnose most failures."""

DOCUMENT = "document"
"""The kind of letter for a failed document. There is at most one for each row and alias."""

PARTITION = "partition"
"""The kind of letter for a partition with rows that could not be listed. There is at most one per partition."""

Facet = Literal["kind", "reason", "table"]
"""Columns by which letters can be counted."""

_FACETS: Mapping[Facet, str] = {
    "kind": "kind",
    "reason": "reason",
    "table": "keyspace_name || '.' || table_name",
}

DocumentPlace = tuple[str | None, str | None, bytes | None, tuple[bytes | None, ...] | None]
"""A row: keyspace, table, serialised partition key and clustering values (None: a whole partition)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One piece of a segment, mutation, document or partition that could not be processed.

    `kind` is its type (`segment`, `mutation`, `document`, `partition`), `reason` a short stable name (an
    Elasticsearch `error.type`, an error class), `detail` the full error as a JSON-ready mapping; its `key` is the
    row's key by column name. `payload` holds a mutation's bytes, or the first bytes of a document that Elasticsearch
    rejected, or of the values that an unbuildable document would be built from. A replay reads the document's row
    again. `alias` is the alias to write the document to; empty if the failure belongs to no document of the row.
    `attempts` is the number of failures.
    `table_id` is the hexadecimal id of a table that is in no known schema. Such a table has one letter for all of its
    mutations: `count` is their number, `payload` the first of them; `segment_id` and `position` are the last one's.
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
    alias: str = ""
    id: int | None = None
    at: int | None = None
    """Time of the first failure in microseconds since epoch."""
    attempts: int = 1
    last_at: int | None = None
    """Time of the last failure in microseconds since epoch, if it failed more than once."""
    table_id: str | None = None
    count: int = 1

    @property
    def place(self) -> DocumentPlace:
        """The row or partition that it belongs to."""
        clustering = None if self.clustering is None else tuple(self.clustering)
        return self.keyspace, self.table, self.partition_key, clustering


_ADD = (
    "INSERT INTO dead_letter (at, kind, reason, keyspace_name, table_name, partition_key, clustering, "
    "segment_id, position, detail, payload, alias, table_id, count) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (table_id) WHERE table_id IS NOT NULL "
    "DO UPDATE SET count = count + excluded.count, segment_id = excluded.segment_id, "
    "position = excluded.position, last_at = excluded.at "
    "ON CONFLICT (keyspace_name, table_name, partition_key, clustering, alias) WHERE kind = 'document' "
    "DO UPDATE SET reason = excluded.reason, detail = excluded.detail, payload = excluded.payload, "
    "attempts = attempts + 1, last_at = excluded.at "
    "ON CONFLICT (keyspace_name, table_name, partition_key) WHERE kind = 'partition' "
    "DO UPDATE SET reason = excluded.reason, detail = excluded.detail, "
    "attempts = attempts + 1, last_at = excluded.at "
    "ON CONFLICT (kind, segment_id, position) WHERE kind <> 'document' AND position IS NOT NULL "
    "AND table_id IS NULL DO NOTHING "
    "RETURNING id, attempts, count"
)
"""Inserts a letter or updates an existing one. Returns nothing for an unchanged letter."""


class DeadLetters:
    """The durable list of dead letters, with filters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.on_new: Callable[[Sequence[DeadLetter]], None] = lambda _letters: None
        """Called by `add`, in its thread, with the new letters, including their ids."""

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Store letters durably, all or none.

        An existing letter of a document or partition gets the new reason. An existing letter of a piece of a segment
        stays unchanged: the segment is read again after a crash. The letter of an unknown table adds the new letter's
        count.
        """
        now = time.time_ns() // 1000
        rows = [
            (
                letter.at or now,
                letter.kind,
                cut(letter.reason),
                letter.keyspace,
                letter.table,
                letter.partition_key,
                _encode_clustering(letter.clustering),
                letter.segment_id,
                letter.position,
                json_bytes(letter.detail).decode(),
                None if letter.payload is None else letter.payload[:PAYLOAD_LIMIT],
                letter.alias,
                letter.table_id,
                letter.count,
            )
            for letter in letters
        ]
        new: list[DeadLetter] = []
        with self._database.transaction() as connection:
            for letter, row in zip(letters, rows, strict=True):
                new += [
                    replace(letter, id=identity)
                    for identity, attempts, count in connection.execute(_ADD, row).fetchall()
                    if (attempts, count) == (1, letter.count)
                ]
        if new:
            self.on_new(new)

    def counted_up_to(self, table_id: str) -> tuple[int, int] | None:
        """Return the segment and position of the last mutation that an unknown table's letter counts.

        None if the table has no letter.
        """
        with self._database.reading() as connection:
            found = connection.execute("SELECT segment_id, position FROM dead_letter WHERE table_id = ?", (table_id,))
            row: tuple[int, int] | None = found.fetchone()
            return row

    def failed_again(self, letter: DeadLetter, reason: str, detail: Mapping[str, Any]) -> None:
        """Record why a letter could not be replayed.

        Does nothing if it was deleted, or failed again after it was read: that failure is already counted.
        """
        encoded = json_bytes(detail).decode()
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE dead_letter SET reason = ?, detail = ?, attempts = attempts + 1, last_at = ? "
                "WHERE id = ? AND attempts = ?",
                (cut(reason), encoded, time.time_ns() // 1000, letter.id, letter.attempts),
            )

    def remove(self, identities: Iterable[int]) -> int:
        """Delete letters by id; return how many existed."""
        with self._database.transaction() as connection:
            found = connection.executemany("DELETE FROM dead_letter WHERE id = ?", ((each,) for each in identities))
            return found.rowcount

    def remove_matching(self, wanted: DeadLetterFilter) -> int:
        """Delete the matching letters; return how many there were."""
        condition, values = wanted.condition()
        with self._database.transaction() as connection:
            return connection.execute(f"DELETE FROM dead_letter WHERE {condition}", values).rowcount  # noqa: S608

    def revive(self, shown: Iterable[tuple[DocumentPlace, str]]) -> None:
        """Delete the letters of documents that have been written since then. `shown` has each row and alias.

        Letters of partitions are deleted likewise, without an alias.
        """
        with self._database.transaction() as connection:
            connection.executemany(
                "DELETE FROM dead_letter WHERE kind IN ('document', 'partition') AND keyspace_name = ? "
                "AND table_name = ? AND partition_key = ? AND clustering IS ? AND alias IN (?, '')",
                [(*place[:3], _encode_clustering(place[3]), alias) for place, alias in shown],
            )

    def documents(self) -> Iterator[tuple[DocumentPlace, str]]:
        """Yield the row and alias of each document's letter, and the partition of each partition's letter."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT keyspace_name, table_name, partition_key, clustering, alias FROM dead_letter "
                "WHERE kind IN ('document', 'partition')"
            ).fetchall()
        for keyspace, table, key, clustering, alias in rows:
            yield (keyspace, table, key, _decode_clustering(clustering)), alias

    def count(self, wanted: DeadLetterFilter = EVERYTHING) -> int:
        """Return the number of matching letters."""
        condition, values = wanted.condition()
        with self._database.reading() as connection:
            found = connection.execute(f"SELECT count(*) FROM dead_letter WHERE {condition}", values)  # noqa: S608
            return int(found.fetchone()[0])

    def reasons(self, wanted: DeadLetterFilter = EVERYTHING) -> dict[str, int]:
        """Return the number of matching letters by reason, most frequent first."""
        return self.count_by("reason", wanted)

    def count_by(self, facet: Facet, wanted: DeadLetterFilter = EVERYTHING) -> dict[str, int]:
        """Return the number of matching letters by a facet's value, most frequent first."""
        condition, values = wanted.condition()
        with self._database.reading() as connection:
            found = connection.execute(
                f"SELECT {_FACETS[facet]} AS value, count(*) FROM dead_letter "  # noqa: S608
                f"WHERE value IS NOT NULL AND {condition} GROUP BY value ORDER BY 2 DESC, 1",
                values,
            )
            return dict(found.fetchall())

    def get(self, identity: int) -> DeadLetter | None:
        """Return a letter by its id."""
        return next(self._select("id = ?", (identity,), order="DESC", limit=1), None)

    def list(
        self, *, wanted: DeadLetterFilter = EVERYTHING, limit: int = 100, oldest_first: bool = False
    ) -> Iterator[DeadLetter]:
        """Yield at most `limit` matching letters, newest first unless `oldest_first`."""
        condition, values = wanted.condition()
        yield from self._select(condition, values, order="ASC" if oldest_first else "DESC", limit=limit)

    def due(self, now: int, *, pause: int, longest: int, limit: int) -> Sequence[DeadLetter]:
        """Return letters to retry, oldest first: documents, partitions and mutations.

        A letter is due `pause` after its first failure. Each further failure doubles the delay, up to `longest`.
        All are in microseconds, `now` since epoch.
        """
        return [
            *self._select(
                "kind IN ('document', 'partition', 'mutation') "
                "AND coalesce(last_at, at) <= ? - min(? * (1 << min(attempts - 1, 20)), ?)",
                (now, pause, longest),
                order="ASC",
                limit=limit,
            )
        ]

    def _select(self, condition: str, values: Sequence[Any], *, order: str, limit: int) -> Iterator[DeadLetter]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, at, kind, reason, keyspace_name, table_name, partition_key, clustering, segment_id, "  # noqa: S608
                "position, detail, payload, alias, attempts, last_at, table_id, count FROM dead_letter "
                f"WHERE {condition} ORDER BY id {order} LIMIT ?",
                (*values, limit),
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
                alias=row[12],
                attempts=row[13],
                last_at=row[14],
                table_id=row[15],
                count=row[16],
            )


def _encode_clustering(clustering: Sequence[bytes | None] | None) -> bytes | None:
    return None if clustering is None else encode_clustering(clustering)


def _decode_clustering(text: bytes | None) -> tuple[bytes | None, ...] | None:
    return None if text is None else decode_clustering(text)
