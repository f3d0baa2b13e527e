"""Rows by their keys from a real Cassandra: exactly those asked for, each with its newest write time."""

from __future__ import annotations

import asyncio
import gc
import itertools
import struct
from collections.abc import AsyncIterator

import pytest
from cassandra.cluster import ResponseFuture, Session

from cdc_daemon.cassandra.reader import CassandraRowReader
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from cdc_daemon.model.errors import CassandraRefusedError, DocumentError
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.model.version_clock import HybridClock
from sandbox import Sandbox


class Reading:
    """A reader, and the test's keyspace."""

    def __init__(self, session: Session, keyspace: str) -> None:
        self.keyspace = keyspace
        self.schema = SchemaSource(session)
        self.reader = CassandraRowReader(session, self.schema, HybridClock(), keys_per_query=3)

    def key(self, table: str, partition: bytes, *clustering: bytes) -> Key:
        return Key(TableName(self.keyspace, table), partition, clustering)


@pytest.fixture
async def reading(box: Sandbox, keyspace: str) -> AsyncIterator[Reading]:
    settings = CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port)
    session = connect(settings)
    yield Reading(session, keyspace)
    session.cluster.shutdown()


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


async def test_each_key_has_its_row_and_its_newest_write_time(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p text, c int, v int, tags set<text>, PRIMARY KEY (p, c))")
    for p, c in itertools.product("abc", range(5)):
        cql.execute(
            f"INSERT INTO {reading.keyspace}.t (p, c, v) VALUES (%s, %s, %s) USING TIMESTAMP {1000 + c}", [p, c, c * 10]
        )
    cql.execute(f"UPDATE {reading.keyspace}.t USING TIMESTAMP 9000 SET tags = {{'x'}} WHERE p = 'a' AND c = 1")
    await reading.schema.refresh()
    keys = [reading.key("t", p.encode(), integer(c)) for p, c in itertools.product("abx", (4, 1, 7))]
    found = await reading.reader.read(keys[0].table, keys)
    at = {name: place for place, name in enumerate(found.columns)}
    rows = [None if state.row is None else (state.row[at["p"]], state.row[at["c"]]) for state in found.states]
    assert rows == [("a", 4), ("a", 1), None, ("b", 4), ("b", 1), None, None, None, None]
    assert [state.newest for state in found.states[:5]] == [1004, 9000, None, 1004, 1001]


async def test_keys_that_the_driver_does_not_give_back_as_they_were_are_found(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p text, c timestamp, d text, v int, PRIMARY KEY (p, c, d))")
    moments = [0, -1, 253402300799999, 10**15]  # the last one is beyond Python's years
    for moment in moments:
        cql.execute(f"INSERT INTO {reading.keyspace}.t (p, c, d, v) VALUES ('p', %s, '', 1)", [moment])
    await reading.schema.refresh()
    keys = [reading.key("t", b"p", struct.pack(">q", moment), b"") for moment in moments]
    found = await reading.reader.read(keys[0].table, keys)
    assert [state.row is not None for state in found.states] == [True, True, True, False]
    assert isinstance(found.states[3].error, DocumentError)


async def test_a_row_that_cannot_be_decoded_leaves_its_neighbours_and_the_connection_alone(
    reading: Reading, cql: Session
) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p int PRIMARY KEY, at timestamp)")
    for p in range(6):
        cql.execute(f"INSERT INTO {reading.keyspace}.t (p, at) VALUES (%s, %s)", [p, 10**15 if p == 1 else p])
    await reading.schema.refresh()
    keys = [reading.key("t", integer(p)) for p in range(6)]
    for _ in range(3):
        found = await reading.reader.read(keys[0].table, keys)
        assert [state.error is not None for state in found.states] == [p == 1 for p in range(6)]
        assert [state.row is not None for state in found.states] == [p != 1 for p in range(6)]


async def test_partition_keys_of_several_columns(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p text, q int, v int, PRIMARY KEY ((p, q)))")
    for q in range(4):
        cql.execute(f"INSERT INTO {reading.keyspace}.t (p, q, v) VALUES ('p', %s, %s)", [q, q])
    await reading.schema.refresh()

    def composite(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)

    keys = [reading.key("t", composite(b"p", integer(q))) for q in (3, 0, 9)]
    found = await reading.reader.read(keys[0].table, keys)
    assert [state.row for state in found.states] == [("p", 3, 3), ("p", 0, 0), None]


async def test_a_column_that_is_gone_is_refused_once_and_then_left_out(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p int PRIMARY KEY, a int, b int)")
    cql.execute(f"INSERT INTO {reading.keyspace}.t (p, a, b) VALUES (1, 2, 3)")
    await reading.schema.refresh()
    key = reading.key("t", integer(1))
    assert (await reading.reader.read(key.table, [key])).states[0].row == (1, 2, 3)
    cql.execute(f"ALTER TABLE {reading.keyspace}.t DROP b")
    with pytest.raises(CassandraRefusedError):
        await reading.reader.read(key.table, [key])
    assert (await reading.reader.read(key.table, [key])).states[0].row == (1, 2)


async def test_the_clusterings_of_a_partition(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.t (p int, c int, s int static, PRIMARY KEY (p, c))")
    for c in range(7):
        cql.execute(f"INSERT INTO {reading.keyspace}.t (p, c) VALUES (1, %s)", [c])
    cql.execute(f"INSERT INTO {reading.keyspace}.t (p, s) VALUES (2, 5)")
    await reading.schema.refresh()
    table = TableName(reading.keyspace, "t")

    async def clusterings(partition: int) -> list[tuple[bytes | None, ...]]:
        pages = [page async for page in reading.reader.clusterings(table, integer(partition))]
        return [clustering for page in pages for clustering in page]

    assert await clusterings(1) == [(integer(c),) for c in range(7)]
    assert await clusterings(2) == []


async def test_clusterings_that_the_driver_makes_nothing_of_are_listed(reading: Reading, cql: Session) -> None:
    columns = "p int, a int, b timestamp, c frozen<list<varint>>"
    cql.execute(f"CREATE TABLE {reading.keyspace}.t ({columns}, v int, PRIMARY KEY (p, a, b, c))")
    for a, b in (("blobasint(0x)", "0"), ("7", "blobastimestamp(0x)"), ("8", "1000000000000000"), ("9", "0")):
        cql.execute(f"INSERT INTO {reading.keyspace}.t (p, a, b, c, v) VALUES (1, {a}, {b}, [{'7' * 5000}], 1)")
    await reading.schema.refresh()
    table = TableName(reading.keyspace, "t")
    pages = [page async for page in reading.reader.clusterings(table, integer(1))]
    found = [clustering for page in pages for clustering in page]
    assert sorted(each[:2] for each in found) == [
        (b"", bytes(8)),
        (integer(7), b""),
        (integer(8), struct.pack(">q", 10**15)),
        (integer(9), bytes(8)),
    ]
    states = (await reading.reader.read(table, [Key(table, integer(1), each) for each in found])).states
    assert [state.row is None for state in states] == [isinstance(state.error, DocumentError) for state in states]
    assert sum(state.row is not None for state in states) == 3


async def test_an_answered_request_is_freed_without_the_garbage_collector(reading: Reading, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {reading.keyspace}.freed (p text PRIMARY KEY, v int)")
    cql.execute(f"INSERT INTO {reading.keyspace}.freed (p, v) VALUES ('a', 1)")
    await reading.schema.refresh()
    key = reading.key("freed", b"a")
    await reading.reader.read(key.table, [key])
    gc.collect()
    gc.disable()
    try:
        # `isinstance` would follow the weak references of others to objects that are gone.
        before = sum(type(each) is ResponseFuture for each in gc.get_objects())
        for _ in range(50):
            assert (await reading.reader.read(key.table, [key])).states[0].row == ("a", 1)
        await asyncio.sleep(0.1)  # the driver's thread is done with the last answer
        after = sum(type(each) is ResponseFuture for each in gc.get_objects())
    finally:
        gc.enable()
    assert after <= before + 2
