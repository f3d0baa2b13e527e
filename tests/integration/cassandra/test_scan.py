"""The keys of a real table by ranges of tokens: each row once, whatever its shape and however small the pages."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cassandra.cluster import Session
from cassandra.metadata import Murmur3Token

from cdc_daemon.cassandra.clock import measure_lead
from cdc_daemon.cassandra.ring import WHOLE_RING, Ring, TokenRange, split
from cdc_daemon.cassandra.scan import TokenScan
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.cassandra.session import connect
from cdc_daemon.config import CassandraSettings
from cdc_daemon.model.signal import Key, TableName
from sandbox import Sandbox


class ScanFactory:
    def __init__(self, session: Session, keyspace: str) -> None:
        self.table = TableName(keyspace, "t")
        self.session = session
        self.schema = SchemaSource(session)
        self.scan = TokenScan(session, self.schema, page_rows=7)

    async def keys(self, *ranges: TokenRange) -> Counter[Key]:
        await self.schema.refresh()
        found: Counter[Key] = Counter()
        for each in ranges:
            covered = each.first
            async for page in self.scan.keys(self.table, each):
                tokens = [Murmur3Token.hash_fn(key.partition_key) for key in page.keys]
                assert tokens == sorted(tokens)
                assert all(covered < token <= each.last for token in tokens)
                assert page.covered >= covered
                covered = page.covered
                found.update(page.keys)
            assert covered == each.last
        return found


@pytest.fixture
async def scanning(box: Sandbox, keyspace: str) -> AsyncIterator[ScanFactory]:
    session = connect(CassandraSettings(contact_points=tuple(box.contact_points), port=box.cassandra.port))
    yield ScanFactory(session, keyspace)
    session.cluster.shutdown()


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


async def test_each_row_comes_once(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p int, c timestamp, d text, s int static, PRIMARY KEY (p, c, d))")
    moments = [0, -1, 10**15]  # the last one is beyond Python's years
    expected = []
    for p in range(20):
        for moment in moments:
            cql.execute(f"INSERT INTO {scanning.table} (p, c, d) VALUES (%s, {moment}, '')", [p])
            expected.append(Key(scanning.table, integer(p), (struct.pack(">q", moment), b"")))
    cql.execute(f"INSERT INTO {scanning.table} (p, s) VALUES (99, 1)")
    assert await scanning.keys(WHOLE_RING) == Counter(expected)
    assert await scanning.keys(*split(WHOLE_RING, 16)) == Counter(expected)
    assert await scanning.keys(*await Ring(scanning.session).pieces(scanning.table)) == Counter(expected)


async def test_a_partition_larger_than_a_page(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p text, q int, c int, PRIMARY KEY ((p, q), c))")
    for c in range(40):
        cql.execute(f"INSERT INTO {scanning.table} (p, q, c) VALUES ('p', 1, %s)", [c])
    cql.execute(f"INSERT INTO {scanning.table} (p, q, c) VALUES ('p', 2, 0)")
    found = await scanning.keys(WHOLE_RING)
    assert set(found.values()) == {1}
    assert len(found) == 41
    assert Key(scanning.table, b"\x00\x01p\x00\x00\x04" + integer(2) + b"\x00", (integer(0),)) in found


async def test_rows_without_a_marker_and_without_values(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p int PRIMARY KEY, v int, tags frozen<list<int>>)")
    cql.execute(f"INSERT INTO {scanning.table} (p) VALUES (1)")
    cql.execute(f"UPDATE {scanning.table} SET v = 1 WHERE p = 2")
    cql.execute(f"UPDATE {scanning.table} SET v = 1 WHERE p = 3")
    cql.execute(f"DELETE v FROM {scanning.table} WHERE p = 3")
    cql.execute(f"INSERT INTO {scanning.table} (p, v) VALUES (4, 1)")
    cql.execute(f"DELETE FROM {scanning.table} WHERE p = 4")
    assert await scanning.keys(WHOLE_RING) == Counter(Key(scanning.table, integer(p), ()) for p in (1, 2))


async def test_a_key_of_a_type_that_has_no_function(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p frozen<list<int>>, c blob, PRIMARY KEY (p, c))")
    cql.execute(f"INSERT INTO {scanning.table} (p, c) VALUES ([1, 2], 0xab)")
    partition = integer(2) + b"".join(integer(4) + integer(each) for each in (1, 2))
    assert await scanning.keys(WHOLE_RING) == Counter([Key(scanning.table, partition, (b"\xab",))])


async def test_values_beside_the_keys(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p int PRIMARY KEY, a int, b int)")
    cql.execute(f"INSERT INTO {scanning.table} (p, a, b) VALUES (1, 1, 1) USING TIMESTAMP 5")
    cql.execute(f"INSERT INTO {scanning.table} (p) VALUES (2)")
    await scanning.schema.refresh()
    pages = [page async for page in scanning.scan.keys(scanning.table, WHOLE_RING, shown=["b", "WRITETIME(a)"])]
    found = {key.partition_key: values for page in pages for key, values in zip(page.keys, page.values, strict=True)}
    assert found == {integer(1): (1, 5), integer(2): (None, None)}


async def test_whole_rows(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(
        f"CREATE TABLE {scanning.table} (p int, c int, v text, tags set<int>, s int static, PRIMARY KEY (p, c))"
    )
    expected = {}
    for p in range(30):
        for c in range(3):
            cql.execute(f"INSERT INTO {scanning.table} (p, c, v, tags) VALUES (%s, %s, 'x', {{1, 2}})", [p, c])
            expected[Key(scanning.table, integer(p), (integer(c),))] = (p, c, None, "x", {1, 2})
    await scanning.schema.refresh()
    found: dict[Key, Any] = {}
    versions = []
    settled = 0
    async for page in scanning.scan.rows(scanning.table, WHOLE_RING):
        assert page.reading is not None
        assert page.reading.columns == ("p", "c", "s", "v", "tags")
        versions.append(page.reading.version)
        found.update({key: each.row for key, each in zip(page.keys, page.reading.states, strict=True)})
        settled = page.covered_rows
    assert found == expected
    assert settled == len(expected)
    assert versions == sorted(set(versions))
    assert len(versions) > 5


async def test_from_a_row_on_that_cannot_be_decoded_there_are_only_keys(scanning: ScanFactory, cql: Session) -> None:
    cql.execute(f"CREATE TABLE {scanning.table} (p int PRIMARY KEY, day date, at timestamp)")
    for p in range(40):
        cql.execute(f"INSERT INTO {scanning.table} (p, at) VALUES (%s, 0)", [p])
    cql.execute(f"UPDATE {scanning.table} SET at = {10**17} WHERE p = 11")
    await scanning.schema.refresh()
    pages = [page async for page in scanning.scan.rows(scanning.table, WHOLE_RING)]
    assert {key.partition_key for page in pages for key in page.keys} == {integer(p) for p in range(40)}
    assert pages[0].reading is not None
    assert pages[-1].reading is None
    assert pages[-1].covered_rows == 40


async def test_the_nodes_say_their_time(scanning: ScanFactory) -> None:
    (lead,) = await measure_lead(scanning.session)
    assert abs(lead) < 60  # of seconds: it is the same clock
