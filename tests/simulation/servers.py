"""A Cassandra and an Elasticsearch in memory, as slow, forgetful and unreliable as the real ones may be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import orjson

from cdc_daemon.model.document_operation import Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.errors import CassandraUnavailableError, ElasticsearchUnavailableError
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.model.version_clock import HybridClock

COLUMNS = ("p", "c", "v", "s")
VISIBLE_WITHIN = 0.04
"""Seconds after a mutation is in the log within which it is in the memtable; below the pause of a second read."""


@dataclass
class Cassandra:
    """One table: rows by (partition key, clustering), a static column by partition, tombstones by write time."""

    rows: dict[tuple[bytes, Clustering], tuple[str, int]] = field(default_factory=dict)
    statics: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    tombstones: list[tuple[bytes, Clustering, int]] = field(default_factory=list)
    onlookers: list[Callable[[], None]] = field(default_factory=list)
    """Called after each change."""

    def write(self, partition: bytes, clustering: Clustering, value: str, time: int) -> None:
        if any(
            time <= removed and partition == of and clustering[: len(prefix)] == prefix
            for of, prefix, removed in self.tombstones
        ):
            return
        kept = self.rows.get((partition, clustering))
        if kept is None or time > kept[1]:
            self.rows[partition, clustering] = (value, time)

    def set_static(self, partition: bytes, value: str, time: int) -> None:
        if any(time <= removed and partition == of and not prefix for of, prefix, removed in self.tombstones):
            return
        if time > self.statics.get(partition, ("", 0))[1]:
            self.statics[partition] = (value, time)

    def remove(self, partition: bytes, prefix: Clustering, time: int) -> None:
        self.tombstones.append((partition, prefix, time))
        for row in [row for row in self.rows if row[0] == partition and row[1][: len(prefix)] == prefix]:
            if self.rows[row][1] <= time:
                del self.rows[row]

    def remove_statics(self, partition: bytes, time: int) -> None:
        if partition in self.statics and self.statics[partition][1] <= time:
            del self.statics[partition]

    def truncate(self) -> None:
        """Delete everything that is visible, without a signal."""
        self.rows.clear()
        self.statics.clear()
        for look in self.onlookers:
            look()

    def row(self, partition: bytes, clustering: Clustering) -> tuple[Row, int] | None:
        found = self.rows.get((partition, clustering))
        if found is None:
            return None
        static = self.statics.get(partition, (None, 0))
        return (partition, clustering, found[0], static[0]), max(found[1], static[1])


@dataclass
class Reader:
    """Answers after a while, with what was visible when the query arrived; fails now and then."""

    cassandra: Cassandra
    clock: HybridClock
    chance: random.Random
    failures: float

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert table.keyspace
        assert confirm in {True, False}
        version = self.clock.next()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(self.chance.random() * 0.005)
        if self.chance.random() < self.failures:
            raise CassandraUnavailableError("no answer")
        states = []
        for key in keys:
            found = self.cassandra.row(key.partition_key, key.clustering or ())
            states.append(RowState(None, None) if found is None else RowState(*found))
        await asyncio.sleep(self.chance.random() * 0.005)
        return Reading(version, began, COLUMNS, states)

    async def scan(self, table: TableName) -> tuple[list[Key], Reading]:
        """Read all rows in one page, without their write times."""
        keys = [Key(table, partition, clustering) for partition, clustering in self.cassandra.rows]
        reading = await self.read(table, keys)
        there = [
            (key, state._replace(newest=None)) for key, state in zip(keys, reading.states, strict=True) if state.row
        ]
        return [key for key, _ in there], reading._replace(states=[state for _, state in there])

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        assert table.keyspace
        assert partition_key

    async def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        assert table.keyspace
        await asyncio.sleep(self.chance.random() * 0.005)
        if self.chance.random() < self.failures:
            raise CassandraUnavailableError("no answer")
        found = [clustering for partition, clustering in self.cassandra.rows if partition == partition_key]
        for start in range(0, len(found), 2):
            await asyncio.sleep(self.chance.random() * 0.005)
            yield found[start : start + 2]


@dataclass
class Index:
    """Documents with external versions; remembers deletions until it restarts.

    As the bulk writer does, it takes no document that was built of a read before its last failure.
    """

    chance: random.Random
    failures: float
    documents: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    deletions: dict[str, int] = field(default_factory=dict)
    searchable: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    since: float = -1.0

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        await asyncio.sleep(self.chance.random() * 0.01)
        lost_before = self.chance.random() < self.failures
        if lost_before:
            return [Result(Outcome.REREAD, "connection", status=0)] * len(operations)
        results = [
            self._apply(operation)
            if operation.read_at > self.since
            else Result(Outcome.REREAD, "body_too_old", "the body waited too long", status=0)
            for operation in operations
        ]
        await asyncio.sleep(self.chance.random() * 0.01)
        if self.chance.random() < self.failures:
            self.deletions.clear()  # the node restarted, and has forgotten its deletions
            self.since = asyncio.get_running_loop().time()
            return [Result(Outcome.REREAD, "connection", status=0)] * len(operations)
        return results

    def _apply(self, operation: Operation) -> Result:
        current = max(self.documents.get(operation.id, (0, b""))[0], self.deletions.get(operation.id, 0))
        if current > operation.version:
            return Result(Outcome.REREAD, "version_conflict_engine_exception", seen_version=current, status=409)
        if operation.body is None:
            self.documents.pop(operation.id, None)
            self.deletions[operation.id] = operation.version
            return Result(Outcome.DELETED)
        self.deletions.pop(operation.id, None)
        self.documents[operation.id] = (operation.version, operation.body)
        return Result(Outcome.INDEXED)

    async def wait_available(self) -> None:
        await asyncio.sleep(0)

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        assert table.keyspace
        await asyncio.sleep(self.chance.random() * 0.01)
        if self.chance.random() < self.failures:
            raise ElasticsearchUnavailableError("no answer")
        self.searchable = dict(self.documents)  # the refresh
        found = [orjson.loads(body) for _, body in self.searchable.values()]
        siblings = [tuple(bytes.fromhex(c) for c in each["c"]) for each in found if each["p"] == partition_key.hex()]
        for start in range(0, len(siblings), 2):
            await asyncio.sleep(self.chance.random() * 0.01)
            yield siblings[start : start + 2]


@dataclass
class DocumentedRows:
    """Finds the rows that have documents."""

    index: Index

    async def find(self, table: TableName) -> AsyncIterator[Sequence[Key]]:
        index = self.index
        await asyncio.sleep(index.chance.random() * 0.01)
        if index.chance.random() < index.failures:
            raise ElasticsearchUnavailableError("no answer")
        found = [orjson.loads(body) for _, body in index.documents.values()]
        keys = [
            Key(table, bytes.fromhex(each["p"]), tuple(bytes.fromhex(part) for part in each["c"])) for each in found
        ]
        for start in range(0, len(keys), 2):
            await asyncio.sleep(index.chance.random() * 0.01)
            yield keys[start : start + 2]


class Documents:
    """One document for each row."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns == COLUMNS
        return lambda key, row, version, read_at: [
            Operation(
                str(table),
                document_id(key.partition_key, key.clustering or ()),
                version,
                None if row is None else body(row),
                read_at,
            )
        ]


def document_id(partition: bytes, clustering: Clustering) -> str:
    return ":".join([partition.hex(), *((part or b"").hex() for part in clustering)])


def body(row: Row) -> bytes:
    partition, clustering, value, static = row
    return orjson.dumps({"p": partition.hex(), "c": [part.hex() for part in clustering], "v": value, "s": static})


def projection(cassandra: Cassandra) -> dict[str, bytes]:
    """What the index has to hold."""
    found = {}
    for partition, clustering in cassandra.rows:
        state = cassandra.row(partition, clustering)
        assert state is not None
        found[document_id(partition, clustering)] = body(state[0])
    return found
