"""Versions decide, on a real index: the freshest read stays, whatever the order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from cdc_daemon.model.version_clock import HybridClock, wall_clock
from cdc_daemon.search import BulkWriter, Operation, Outcome, Result
from tests.integration.search.conftest import QUICK, Index

SECOND = 1_000_000


async def one(writer: BulkWriter, operation: Operation) -> Result:
    (result,) = await writer.write([operation])
    return result


async def test_a_document_is_written_overwritten_deleted_and_written_again(index: Index, writer: BulkWriter) -> None:
    assert (await one(writer, index.write("a", 10, name="one"))).outcome is Outcome.INDEXED
    assert (await one(writer, index.write("a", 11, name="two"))).outcome is Outcome.INDEXED
    assert await index.get("a") == (11, {"name": "two"})
    assert (await one(writer, index.delete("a", 12))).outcome is Outcome.DELETED
    assert await index.get("a") is None
    assert (await one(writer, index.write("a", 13, name="three"))).outcome is Outcome.INDEXED
    assert await index.get("a") == (13, {"name": "three"})


async def test_an_equal_version_writes_again_and_deletes_and_recreates(index: Index, writer: BulkWriter) -> None:
    assert (await one(writer, index.write("a", 10, name="one"))).outcome is Outcome.INDEXED
    assert (await one(writer, index.write("a", 10, name="two"))).outcome is Outcome.INDEXED
    assert await index.get("a") == (10, {"name": "two"})
    assert (await one(writer, index.delete("a", 10))).outcome is Outcome.DELETED
    assert await index.get("a") is None
    assert (await one(writer, index.write("a", 10, name="three"))).outcome is Outcome.INDEXED
    assert await index.get("a") == (10, {"name": "three"})


async def test_the_deletion_of_what_never_was_is_remembered(index: Index, writer: BulkWriter) -> None:
    now = wall_clock()
    deleted = await one(writer, index.delete("a", now))
    assert (deleted.outcome, deleted.status) == (Outcome.DELETED, 404)

    stale = await one(writer, index.write("a", now - 5 * SECOND))

    assert (stale.outcome, stale.seen_version) == (Outcome.SUPERSEDED, now)
    assert await index.get("a") is None


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("deletion", [False, True])
async def test_an_older_read_loses_and_is_told_to_what(
    index: Index, writer: BulkWriter, deleted: bool, deletion: bool
) -> None:
    now = wall_clock()
    await writer.write([index.write("a", now - 20 * SECOND, name="first")])
    await writer.write([index.delete("a", now) if deleted else index.write("a", now, name="fresh")])
    before = await index.get("a")
    older = now - 10 * SECOND

    result = await one(writer, index.delete("a", older) if deletion else index.write("a", older, name="stale"))

    assert (result.outcome, result.seen_version, result.status) == (Outcome.SUPERSEDED, now, 409)
    assert await index.get("a") == before


async def test_a_version_within_the_clock_difference_is_written_above(index: Index, writer: BulkWriter) -> None:
    now = wall_clock()
    await writer.write([index.write("a", now + SECOND // 2, name="ahead")])

    result = await one(writer, index.write("a", now, name="mine"))

    assert (result.outcome, result.seen_version) == (Outcome.REREAD, now + SECOND // 2)
    assert result.seen_version is not None
    again = await one(writer, index.write("a", result.seen_version + 1, name="mine"))
    assert again.outcome is Outcome.INDEXED


async def test_a_version_beyond_any_clock_is_nobodys_fresher_read(index: Index, writer: BulkWriter) -> None:
    foreign = 2**62
    await index.client.index(
        index=index.alias, id="a", document={"name": "x"}, version=foreign, version_type="external"
    )

    result = await one(writer, index.write("a"))

    assert (result.outcome, result.seen_version) == (Outcome.REREAD, foreign)
    assert (await one(writer, index.write("a", foreign + 1, name="ours"))).outcome is Outcome.INDEXED


async def test_an_id_full_of_quotes_and_brackets_has_its_conflict_read(index: Index, writer: BulkWriter) -> None:
    key = 'k]: version conflict, current version [1] is higher than the one provided [0"\\\n\u2028ü'
    now = wall_clock()
    await writer.write([index.write(key, now)])

    result = await one(writer, index.write(key, now - 5 * SECOND))

    assert (result.outcome, result.seen_version) == (Outcome.SUPERSEDED, now)
    assert await index.keys() == {key}


async def test_the_version_can_be_looked_up_where_the_reason_does_not_tell(index: Index, writer: BulkWriter) -> None:
    await writer.write([index.write("there", 7), index.delete("gone", 8)])
    wanted = [index.write("gone"), index.write("there"), Operation("no-such-alias", "x", 1, b"{}", 0.0)]

    assert await writer._find_versions(wanted) == [None, 7, None]


async def test_routing_values_reach_their_shard(index: Index, writer: BulkWriter) -> None:
    await index.client.indices.delete(index=index.name)
    await index.ensure(number_of_shards=5)

    def routed(version: int, body: bytes | None) -> Sequence[Operation]:
        built = index.write("x").read_at
        return [Operation(index.alias, str(key), version, body, built, routing="r") for key in range(10)]

    results = await writer.write(routed(5, b'{"name":"a"}'))
    assert {result.outcome for result in results} == {Outcome.INDEXED}
    assert len(await index.keys()) == 10
    results = await writer.write(routed(6, None))
    assert {result.status for result in results} == {200}
    assert await index.keys() == set()


async def test_many_documents_over_many_requests(index: Index, writer: BulkWriter) -> None:
    operations = [index.write(str(number), 5, name=str(number % 7), age=number) for number in range(4500)]

    results = await asyncio.gather(writer.write(operations[:3500]), writer.write(operations[3500:]))

    assert {result.outcome for part in results for result in part} == {Outcome.INDEXED}
    assert await index.keys() == {str(number) for number in range(4500)}
    assert await index.get("4321") == (5, {"name": "2", "age": 4321})


async def test_the_engine_says_its_time(index: Index) -> None:
    before = wall_clock()
    theirs = await index.engine.time()
    assert theirs is not None
    assert before - 60 * SECOND <= theirs * SECOND <= wall_clock() + 60 * SECOND


async def test_documents_of_a_clock_ahead_are_written_above_their_versions(index: Index) -> None:
    wall = [wall_clock() + 3600 * SECOND]
    clock = HybridClock(now=lambda: wall[0])
    writer = BulkWriter(index.engine, limits=QUICK, versions=clock)
    waiting = index.write("b", clock.next(), name="read ahead")
    ahead = clock.next()
    await one(writer, index.write("a", ahead, name="ahead"))
    wall[0] = wall_clock()
    clock.step_back(lambda _bound, _untrusted: None)

    late = await one(writer, waiting)
    assert (late.outcome, await index.get("b")) == (Outcome.REREAD, None)
    conflict = await one(writer, index.write("a", clock.next(), name="changed"))
    assert (conflict.outcome, conflict.seen_version) == (Outcome.REREAD, ahead)
    assert (await one(writer, index.write("a", ahead + 1, name="changed"))).outcome is Outcome.INDEXED
    assert await index.get("a") == (ahead + 1, {"name": "changed"})
    await writer.close()
