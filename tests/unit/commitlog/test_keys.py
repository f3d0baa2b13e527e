from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.key_update import KeyUpdate, RangeKey, RowKey
from cdc_daemon.commitlog.keys import KeyBatch, read_keys
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate, RangeTombstone
from cdc_daemon.model.errors import DamagedSegmentError, MutationError
from tests.unit.commitlog.inserts import KEY, NOW, insert, section_of
from tests.unit.commitlog.strategies import SLOW, column, tables, updates
from tests.unit.commitlog.writer import entry, mutation, table, vint


def read(schema: Iterable[TableMetadata], *payloads: bytes, limit: int | None = None) -> KeyBatch:
    return read_keys(section_of(*payloads), Schema(schema), segment="s", limit=limit)


def times(update: PartitionUpdate) -> list[int]:
    """Every write time in an update."""
    found = [each.timestamp for each in (update.deletion, *(each.deletion for each in update.ranges)) if each]
    for row in (*update.rows, *((update.static,) if update.static else ())):
        found += [row.timestamp] if row.timestamp is not None else []
        found += [row.deletion.timestamp] if row.deletion else []
        for content in row.columns.values():
            found += [cell.timestamp for cell in cells_of(content)]
            if isinstance(content, ComplexColumn) and content.deletion:
                found.append(content.deletion.timestamp)
    return found


def cells_of(content: Cell | ComplexColumn) -> tuple[Cell, ...]:
    return (content,) if isinstance(content, Cell) else content.cells


@dataclass(frozen=True)
class Facts:
    """The parts of an update that key-first reading must return as they were written."""

    key: bytes
    deletion: int | None
    static: bool
    rows: tuple[RowKey, ...]
    ranges: tuple[RangeKey, ...]


def facts_written(update: PartitionUpdate) -> Facts:
    return Facts(
        update.partition_key,
        update.deletion and update.deletion.timestamp,
        update.static is not None,
        tuple(
            RowKey(
                row.clustering,
                row.deletion is not None and (row.timestamp is None or row.timestamp <= row.deletion.timestamp),
            )
            for row in update.rows
        ),
        tuple(
            RangeKey(each.start, each.start_inclusive, each.end, each.end_inclusive, each.deletion.timestamp)
            for each in update.ranges
        ),
    )


def facts_read(update: KeyUpdate) -> Facts:
    return Facts(update.partition_key, update.partition_deletion, update.static, update.rows, update.ranges)


def expires(update: PartitionUpdate) -> bool:
    rows = (*update.rows, *((update.static,) if update.static else ()))
    return any(row.ttl for row in rows) or any(
        cell.ttl for row in rows for content in row.columns.values() for cell in cells_of(content)
    )


@SLOW
@given(st.data())
def test_keys_are_those_of_the_update(data: st.DataObject) -> None:
    update = data.draw(tables().flatmap(updates))
    batch = read([update.table], mutation(update), mutation(update))
    assert not batch.problems
    if facts_written(update) == Facts(update.partition_key, None, False, (), ()):
        assert batch.skipped == 2
        return
    # First cell by cell, then again with a known column list, so that the update may be read as a plain one.
    for found in batch.updates:
        assert found.table is update.table
        assert facts_read(found) == facts_written(update)
        assert found.has_ttl == expires(update)
        assert min(times(update)) <= found.timestamp <= max(times(update))
    assert len(batch.updates) == 2


SIMPLE = table("simple", [KEY], regular=[column("v", "text"), column("w", "text")])
CLUSTERED = table(
    "clustered",
    [KEY],
    [column("a", "int", "clustering"), column("b", "text", "clustering")],
    [column("v", "text"), column("w", "text")],
)
NUMBERED = table("numbered", [KEY], [column("a", "int", "clustering")], [column("v", "text"), column("w", "text")])


@pytest.mark.parametrize(
    ("some", "clustering"),
    [(SIMPLE, ()), (CLUSTERED, (b"aaaa", b"b" * 127)), (CLUSTERED, (b"aaaa", b"b" * 128)), (CLUSTERED, (b"aaaa", b"")),
     (NUMBERED, (b"aaaa",)), (NUMBERED, (b"",))],
)  # fmt: skip
@pytest.mark.parametrize("key", [b"k", b"k" * 127, b"k" * 128, b"k" * 1000])
def test_plain_updates(some: TableMetadata, clustering: tuple[bytes, ...], key: bytes) -> None:
    statements = [
        insert(some, *clustering, key=key),
        insert(some, *clustering, key=key, w=Cell(b"other", NOW)),
    ] * 3
    batch = read([some], *(mutation(each) for each in statements))
    assert [facts_read(each) for each in batch.updates] == [facts_written(each) for each in statements]
    assert {each.timestamp for each in batch.updates} == {NOW}
    assert not any(each.has_ttl for each in batch.updates)
    position, positions = 100, []
    for each in statements:
        position += len(mutation(each)) + 12
        positions.append(position)
    assert [each.position for each in batch.updates] == positions
    assert batch.end == position
    assert (batch.mutations, batch.skipped, batch.unknown, batch.problems) == (6, 0, {}, [])


@pytest.mark.parametrize("some", [SIMPLE, CLUSTERED, NUMBERED])
def test_a_long_key_that_looks_like_an_update_is_none(some: TableMetadata) -> None:
    clustering = (b"aaaa", b"bbbb")[: len(some.clustering)]
    usual = insert(some, *clustering, key=b"k")
    looks = mutation(usual)[1 + 16 + 1 + 1 :]  # behind the count, the table's id and the key
    # Where an update would go on if the first byte of the key's length, 0x80, were its length.
    long = insert(some, *clustering, key=b"x" * 127 + looks + b"x")
    statements = [usual, long, usual, long]
    batch = read([some], *map(mutation, statements))
    assert [facts_read(each) for each in batch.updates] == [facts_written(each) for each in statements]
    assert not batch.problems


@pytest.mark.parametrize("some", [CLUSTERED, NUMBERED])
@pytest.mark.parametrize("inclusive", [True, False])
def test_a_range_after_the_only_row_is_never_missed(some: TableMetadata, inclusive: bool) -> None:
    """A row estimate of one does not count ranges, and statistics may be missing (streamed SSTables)."""
    clustering = (b"aaaa", b"bbbb")[: len(some.clustering)]
    plain = mutation(insert(some, *clustering))
    tail = (
        b"\x02" + bytes([1 if inclusive else 7]) + b"\x00\x01\x00mmmm" + vint(3) + vint(4)
        + b"\x02\x06\x00\x01\x00zzzz" + vint(3) + vint(4)
        + b"\x01"
    )  # fmt: skip
    batch = read([some], plain, plain[:-1] + tail)
    assert not batch.problems
    assert batch.updates[0].ranges == ()
    assert batch.updates[1].rows == (RowKey(clustering, deleted=False),)
    assert batch.updates[1].ranges == (RangeKey((b"mmmm",), inclusive, (b"zzzz",), True, NOW + 3),)


@pytest.mark.parametrize("value", [b"\x02\x01\x00", b"\x02\x07\x00", b"..\x02\x01\x00\x01\x00mmmm.."])
def test_a_value_that_looks_like_a_range_is_none(value: bytes) -> None:
    update = insert(CLUSTERED, b"aaaa", b"bbbb", w=Cell(value, NOW))
    batch = read([CLUSTERED], mutation(update), mutation(update))
    assert [facts_read(each) for each in batch.updates] == [facts_written(update)] * 2


def test_the_newest_bound_of_the_write_time() -> None:
    early = insert(SIMPLE, w=Cell(b"older", NOW - 1000))
    late = insert(SIMPLE, w=Cell(b"newer", NOW + 1000))
    plain, *_, exact = read([SIMPLE], mutation(early), mutation(late), mutation(late)).updates
    assert plain.timestamp == NOW
    assert NOW <= exact.timestamp <= NOW + 1000


def test_updates_without_statistics_are_read_cell_by_cell() -> None:
    """A stream of SSTables written without statistics: all three are the epochs, only the cells have the times."""
    cell = b"\x02" + vint(NOW - 1_442_880_000_000_000) + vint(300_000_000) + vint(60) + vint(5) + b"value"
    payload = vint(1) + SIMPLE.id + vint(1) + b"k\x10\x00\x00\x00" + vint(1) + b"\x01v" + vint(1)
    payload += b"\x20" + cell + b"\x01"
    for found in read([SIMPLE], payload, payload).updates:
        assert found.has_ttl
        assert found.timestamp == NOW
        assert found.rows == (RowKey((), deleted=False),)


def test_timestamps_that_are_no_microseconds() -> None:
    for timestamp in (1, -1, 1_442_880_000_000_000, 1_442_880_000_000_001, 1_750_000_000, 1 << 62):
        update = insert(SIMPLE, timestamp=timestamp)
        for found in read([SIMPLE], mutation(update), mutation(update)).updates:
            assert facts_read(found) == facts_written(update)
            # The statistics' epoch cannot be distinguished from no statistics; then the row has the time.
            assert found.timestamp == timestamp


def test_row_deletions_and_what_is_written_after_them() -> None:
    for row, deleted in (
        (DecodedRow((), None, None, None, Deletion(NOW, 5), {}), True),
        (DecodedRow((), NOW + 1, None, None, Deletion(NOW, 5), {}), False),
        (DecodedRow((), NOW, None, None, Deletion(NOW, 5), {}), True),
    ):
        (found,) = read([SIMPLE], mutation(PartitionUpdate(SIMPLE, b"k", 0, None, None, (row,), ()))).updates
        assert found.rows == (RowKey((), deleted),)


def test_an_open_ended_range() -> None:
    tombstone = RangeTombstone((), True, (b"mmmm", b"x"), False, Deletion(NOW, 5))
    (found,) = read([CLUSTERED], mutation(PartitionUpdate(CLUSTERED, b"k", 0, None, None, (), (tombstone,)))).updates
    assert found.ranges == (RangeKey((), True, (b"mmmm", b"x"), False, NOW),)
    assert found.rows == ()


def test_a_limit_stops_and_the_rest_follows() -> None:
    payloads = [mutation(insert(SIMPLE, key=b"key%d" % number)) for number in range(5)]
    section = section_of(*payloads)
    found: list[KeyUpdate] = []
    position = 0
    for expected in (2, 2, 1, 0):
        batch = read_keys(section, Schema([SIMPLE]), segment="s", from_position=position, limit=2)
        assert batch.mutations == len(batch.updates) == expected
        found += batch.updates
        position = batch.end
    assert [each.partition_key for each in found] == [b"key%d" % number for number in range(5)]
    assert position == section.end


def test_only_the_tables_that_are_wanted() -> None:
    payloads = [mutation(insert(SIMPLE)), mutation(insert(CLUSTERED, b"aaaa", b"b")),
                mutation(insert(SIMPLE), insert(CLUSTERED, b"aaaa", b"b"))]  # fmt: skip
    section = section_of(*payloads)
    batch = read_keys(section, Schema([SIMPLE, CLUSTERED]), segment="s", only={SIMPLE.id})
    assert [str(each.table) for each in batch.updates] == ["ks.simple", "ks.simple"]
    assert (batch.skipped, batch.unknown, batch.mutations) == (2, {}, 3)


def test_problems_carry_place_and_bytes_and_neighbours_go_on() -> None:
    good = mutation(insert(SIMPLE))
    garbage = good[:17] + b"\x03key" + b"\xff" * 40
    batch = read([SIMPLE], good, garbage, good)
    assert len(batch.updates) == 2
    (problem,) = batch.problems
    assert isinstance(problem, MutationError)
    assert problem.data == garbage
    assert problem.where["segment"] == "s"
    assert problem.where["position"] == 100 + len(good) + len(garbage) + 24


def test_damage_within_a_section() -> None:
    good = mutation(insert(SIMPLE))
    data = bytearray(b"".join(map(entry, [good] * 3)))
    data[len(entry(good)) + 20] ^= 1
    batch = read_keys(Section(bytes(data), 0, len(data), 0), Schema([SIMPLE]), segment="s")
    assert len(batch.updates) == 2
    assert isinstance(batch.problems[0], DamagedSegmentError)
    assert batch.end == len(data)


@given(st.binary(max_size=200), st.integers(0, 250))
def test_any_mutation_raises_nothing(noise: bytes, at: int) -> None:
    good = bytearray(mutation(insert(CLUSTERED, b"aaaa", b"bbbb")))
    broken = bytes(good[:at]) + noise + bytes(good[at + len(noise) :])
    if len(broken) >= 10:
        batch = read([CLUSTERED, SIMPLE], bytes(good), broken)
        assert batch.mutations == 2


def walked(payload: bytes, some: TableMetadata = CLUSTERED) -> str:
    """The single problem of an unreadable mutation."""
    batch = read([some], payload)
    assert not batch.updates
    (problem,) = batch.problems
    assert problem.data == payload
    return problem.message


def test_markers_and_statics_out_of_place() -> None:
    tombstone = RangeTombstone((b"aaaa",), True, (b"zzzz",), True, Deletion(NOW, 5))
    payload = mutation(PartitionUpdate(CLUSTERED, b"k", 0, None, None, (), (tombstone,)))
    start, end = payload.index(b"\x02\x01\x00"), payload.index(b"\x02\x06\x00")
    assert "start of a deleted range" in walked(payload[:start] + payload[end:])
    assert "end of a deleted range" in walked(payload[:end] + payload[start:])
    assert "end of the partition" in walked(payload[:end] + b"\x01")
    statics = table(
        "st", [KEY], [column("c", "int", "clustering")], [column("v", "text")], [column("s", "text", "static")]
    )
    row = DecodedRow((), NOW, None, None, None, {"s": Cell(b"static", NOW)})
    static = mutation(PartitionUpdate(statics, b"k", 0, None, row, (), ()))
    assert "expected a static row" in walked(static.replace(b"\xa4\x01\x00", b"\xa4\x00\x00"), statics)
    among = mutation(insert(CLUSTERED, b"aaaa", b"b"))
    assert "static one among them" in walked(among.replace(b"\x24\x00aaaa", b"\xa4\x01aaaa"))
