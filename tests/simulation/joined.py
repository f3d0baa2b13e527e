"""Servers in memory in which documents show rows of a second table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import orjson

from cdc_daemon.model.document_operation import Operation, RowBuilder
from cdc_daemon.model.errors import CassandraUnavailableError
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from tests.simulation.servers import COLUMNS, Cassandra, Index, Reader, document_id

PARENT = TableName("keyspace", "table")
CHILD = TableName("keyspace", "child")
"""Its rows have the parent's key and one more clustering column."""


class JoinedReader:
    """Reads either table; with a parent, after it, its children."""

    def __init__(
        self, parents: Cassandra, children: Cassandra, clock: HybridClock, chance: random.Random, failures: float
    ) -> None:
        self._readers = {
            PARENT: Reader(parents, clock, chance, failures),
            CHILD: Reader(children, clock, chance, failures),
        }
        self._children = children
        self._chance = chance
        self._failures = failures

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        reading = await self._readers[table].read(table, keys, confirm=confirm)
        if table == CHILD:
            return reading
        await asyncio.sleep(self._chance.random() * 0.005)
        if self._chance.random() < self._failures:
            raise CassandraUnavailableError("no answer")
        states = [
            state if state.row is None else RowState((*state.row, children_of(self._children, key)), state.newest)
            for key, state in zip(keys, reading.states, strict=True)
        ]
        return reading._replace(columns=(*COLUMNS, "children"), states=states)

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        return self._readers[table].clusterings(table, partition_key)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        assert table == CHILD
        assert partition_key


class ParentIndex(Index):
    """Holds the parents' documents alone."""

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        if table == PARENT:
            async for page in super().find(table, partition_key):
                yield page


class ParentDocuments:
    """One document for each parent, with its children."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        if table == CHILD:
            return lambda _key, _row, _version, _read_at: []
        assert columns == (*COLUMNS, "children")
        return lambda key, row, version, read_at: [
            Operation(
                str(table),
                document_id(key.partition_key, key.clustering or ()),
                version,
                None if row is None else body(row),
                read_at,
            )
        ]


def children_of(children: Cassandra, key: Key) -> list[tuple[str, str | None]]:
    """Return what a document shows of a parent's children."""
    found = []
    for partition, clustering in sorted(children.rows):
        if partition == key.partition_key and clustering[:-1] == key.clustering:
            state = children.row(partition, clustering)
            assert state is not None
            found.append((state[0][2], state[0][3]))
    return found


def body(row: Row) -> bytes:
    partition, clustering, value, static, children = row
    shown = {"p": partition.hex(), "c": [part.hex() for part in clustering], "v": value, "s": static, "k": children}
    return orjson.dumps(shown)


def projection(parents: Cassandra, children: Cassandra) -> dict[str, bytes]:
    """What the index has to hold."""
    found = {}
    for partition, clustering in parents.rows:
        state = parents.row(partition, clustering)
        assert state is not None
        key = Key(PARENT, partition, clustering)
        found[document_id(partition, clustering)] = body((*state[0], children_of(children, key)))
    return found
