"""Servers in memory in which documents show a row of a second table that they point to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import orjson

from cdc_daemon.model.document_operation import Operation, RowBuilder
from cdc_daemon.model.errors import CassandraUnavailableError, ElasticsearchUnavailableError
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.store.dependents import ChangedRow, QueuedRow
from tests.simulation.servers import COLUMNS, Cassandra, Index, Reader, document_id

BASE = TableName("keyspace", "table")
OTHER = TableName("keyspace", "other")
"""Each document shows the row of it that the value of its own row points to."""

TARGETS = [(partition, (one, two)) for partition in (b"a", b"b") for one in (b"1", b"2") for two in (b"x", b"y")]


def target_of(value: str) -> tuple[bytes, Clustering]:
    """Return the key of the row that a value points to; a few of them, so that many point to the same."""
    return TARGETS[int(value[1:]) % 3]


class LookupReader:
    """Reads either table; with a row of the first, after it, the one that it points to."""

    def __init__(
        self, base: Cassandra, other: Cassandra, clock: HybridClock, chance: random.Random, failures: float
    ) -> None:
        self._readers = {
            BASE: Reader(base, clock, chance, failures),
            OTHER: Reader(other, clock, chance, failures),
        }
        self._other = other
        self._chance = chance
        self._failures = failures

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        reading = await self._readers[table].read(table, keys, confirm=confirm)
        if table == OTHER:
            return reading
        await asyncio.sleep(self._chance.random() * 0.005)
        if self._chance.random() < self._failures:
            raise CassandraUnavailableError("no answer")
        states = [
            state if state.row is None else RowState((*state.row, shown(self._other, state.row[2])), state.newest)
            for state in reading.states
        ]
        await asyncio.sleep(self._chance.random() * 0.005)
        return reading._replace(columns=(*COLUMNS, "other"), states=states)

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        return self._readers[table].clusterings(table, partition_key)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        assert table == OTHER
        assert partition_key


class BaseDocuments:
    """One document for each row of the first table."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        if table == OTHER:
            return lambda _key, _row, _version, _read_at: []
        assert columns == (*COLUMNS, "other")
        return lambda key, row, version, read_at: [
            Operation(
                str(table),
                document_id(key.partition_key, key.clustering or ()),
                version,
                None if row is None else body(row),
                read_at,
            )
        ]


class BaseIndex(Index):
    """Holds the first table's documents alone."""

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        if table == BASE:
            async for page in super().find(table, partition_key):
                yield page


class Finder:
    """Finds documents by what their values point to, as of a refresh."""

    shown_in = BASE

    def __init__(self, index: Index) -> None:
        self._index = index

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        chance, failures = self._index.chance, self._index.failures
        await asyncio.sleep(chance.random() * 0.01)
        if chance.random() < failures:
            raise ElasticsearchUnavailableError("no answer")
        found = []
        for version, document in list(self._index.documents.values()):
            fields = orjson.loads(document)
            partition, clustering = target_of(fields["v"])
            if partition == key.partition_key and key.clustering in (None, clustering) and version <= read_before:
                shown_by = tuple(bytes.fromhex(part) for part in fields["c"])
                found.append(Key(BASE, bytes.fromhex(fields["p"]), shown_by))
        for start in range(0, len(found), 2):
            await asyncio.sleep(chance.random() * 0.01)
            if chance.random() < failures:
                raise ElasticsearchUnavailableError("no answer")
            yield found[start : start + 2]


class MemoryQueue:
    """The durable queue, in memory: it outlives what works it off."""

    def __init__(self) -> None:
        self.kept: dict[Key, QueuedRow] = {}
        self._next = 0

    async def add(self, rows: Sequence[ChangedRow]) -> None:
        for row in rows:
            before = self.kept.get(row.key)
            if before is None:
                self._next += 1
                self.kept[row.key] = QueuedRow(self._next, 0, 0, row)
            else:
                newest = row._replace(version=max(row.version, before.row.version))
                self.kept[row.key] = before._replace(generation=before.generation + 1, row=newest)

    async def oldest(self, limit: int, *, excluding: Sequence[int] = ()) -> Sequence[QueuedRow]:
        return [each for each in self.kept.values() if each.id not in excluding][:limit]

    async def skip(self, dependent: QueuedRow) -> None:
        raise AssertionError(dependent)

    async def restore_skipped(self) -> None:
        """Nothing is ever passed over here."""

    async def done(self, dependent: QueuedRow) -> None:
        kept = self.kept.get(dependent.row.key)
        if kept is not None and (kept.id, kept.generation) == (dependent.id, dependent.generation):
            del self.kept[dependent.row.key]


def shown(other: Cassandra, value: str) -> str | None:
    found = other.row(*target_of(value))
    return None if found is None else found[0][2]


def body(row: Row) -> bytes:
    partition, clustering, value, static, looked_up = row
    fields = {"p": partition.hex(), "c": [part.hex() for part in clustering], "v": value, "s": static, "o": looked_up}
    return orjson.dumps(fields)


def projection(base: Cassandra, other: Cassandra) -> dict[str, bytes]:
    """What the index has to hold."""
    found = {}
    for partition, clustering in base.rows:
        state = base.row(partition, clustering)
        assert state is not None
        found[document_id(partition, clustering)] = body((*state[0], shown(other, state[0][2])))
    return found
