from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.schema import DroppedColumn, Schema, TableMetadata
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import (
    INVALID_DELETION_TIME,
    Cell,
    ComplexColumn,
    DecodedRow,
    Deletion,
    PartitionUpdate,
    RangeTombstone,
)
from cdc_daemon.model.errors import CommitLogError
from tests.unit.commitlog.strategies import SLOW, column, tables, updates
from tests.unit.commitlog.writer import entry, mutation, subset, table, vint

KEY = column("k", "text", "partition_key")


def decode(
    payload: bytes, *schema: TableMetadata, version: int = 7
) -> tuple[list[PartitionUpdate], list[CommitLogError]]:
    data = entry(payload)
    section = Section(data, 100, 100 + len(data), 100, version)
    problems: list[CommitLogError] = []
    found = list(read_updates(section, Schema(schema), segment="s", problems=problems))
    assert all(update.position == section.end for update in found)
    return [update._replace(position=0) for update in found], problems


def one(update: PartitionUpdate, version: int = 7) -> PartitionUpdate:
    (found,), problems = decode(mutation(update), update.table, version=version)
    assert not problems
    return found


@SLOW
@given(st.data(), st.sampled_from([7, 8]))
def test_round_trip(data: st.DataObject, version: int) -> None:
    update = data.draw(tables().flatmap(updates))
    assert one(update, version) == update


@SLOW
@given(st.data())
def test_round_trip_of_several_tables(data: st.DataObject) -> None:
    first, second = data.draw(tables("one")), data.draw(tables("two"))
    written = [data.draw(updates(first)), data.draw(updates(second, key=b"x"))]
    written[1] = written[1]._replace(partition_key=written[0].partition_key)
    found, problems = decode(mutation(*written), first, second)
    assert not problems
    assert found == written


@SLOW
@given(st.data())
def test_every_truncation_is_an_error(data: st.DataObject) -> None:
    update = data.draw(tables().flatmap(updates))
    payload = mutation(update)
    for length in range(10, len(payload)):
        found, problems = decode(payload[:length], update.table)
        assert not found
        assert len(problems) == 1
        assert problems[0].data is not None


@SLOW
@given(st.data())
def test_flipped_bytes_raise_nothing_else(data: st.DataObject) -> None:
    update = data.draw(tables().flatmap(updates))
    payload = bytearray(mutation(update))
    for _ in range(3):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    decode(bytes(payload) + bytes(max(0, 10 - len(payload))), update.table)


@SLOW
@given(st.binary(min_size=10, max_size=300))
def test_any_bytes_raise_nothing_else(payload: bytes) -> None:
    some = table("t", [KEY], [column("c", "int", "clustering")], [column("v", "text"), column("m", "map<int, int>")])
    decode(vint(1) + some.id + vint(1) + b"k" + payload, some)
    decode(payload, some)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 91, 130])
@pytest.mark.parametrize("present", ["none", "first", "last", "few", "half", "most", "odd"])
def test_column_subsets(count: int, present: str) -> None:
    columns = [column(f"v{index:03}", "int") for index in range(count)]
    chosen = {
        "none": [],
        "first": columns[:1],
        "last": columns[-1:],
        "few": columns[:: max(1, count // 5)],
        "half": columns[: count // 2],
        "most": columns[1:],
        "odd": columns[1::2],
    }[present]
    some = table("t", [KEY], regular=columns)
    timestamp = 1_750_000_000_000_000
    everything = DecodedRow((), timestamp, None, None, None, {each.name: Cell(b"1234", timestamp) for each in columns})
    part = everything._replace(columns={each.name: Cell(b"abcd", timestamp) for each in chosen})
    update = PartitionUpdate(some, b"k", 0, None, None, (everything, part), ())
    assert one(update) == update


@pytest.mark.parametrize(
    ("count", "encoded"), [(3, vint(0b1000)), (70, vint(71)), (70, vint(69) + vint(70)), (70, vint(2) + vint(3) * 2)]
)
def test_impossible_subsets_are_errors(count: int, encoded: bytes) -> None:
    columns = [column(f"v{index:03}", "int") for index in range(count)]
    some = table("t", [KEY], regular=columns)
    row = DecodedRow((), None, None, None, None, {each.name: Cell(b"1234", 5) for each in columns})
    good = mutation(
        PartitionUpdate(some, b"k", 0, None, None, (row, row._replace(columns={"v000": Cell(b"abcd", 5)})), ())
    )
    _, problems = decode(good.replace(subset(columns[:1], columns) + b"\x00\x00abcd", encoded + b"\x00\x00abcd"), some)
    assert len(problems) == 1


def test_local_deletion_times_after_2038_are_unsigned_in_version_8() -> None:
    some = table("t", [KEY], regular=[column("v", "int")])
    late = (1 << 31) + 1000
    row = DecodedRow((), None, None, None, Deletion(5, late), {"v": Cell(None, 5, None, late)})
    update = PartitionUpdate(some, b"k", 0, Deletion(5, late), None, (row,), ())
    assert one(update, version=8) == update
    old = one(update, version=7)
    assert old.deletion == Deletion(5, INVALID_DELETION_TIME)


def test_timestamps_before_the_epoch_and_negative_ones() -> None:
    some = table("t", [KEY], regular=[column("v", "int")])
    for timestamp in (-(1 << 62), -1, 0, 1, 1_442_880_000_000_000, (1 << 63) - 1):
        row = DecodedRow((), timestamp, None, None, None, {"v": Cell(b"1234", timestamp - 1)})
        update = PartitionUpdate(some, b"k", 0, None, None, (row,), ())
        assert one(update) == update


def test_cells_of_dropped_columns_are_left_out_up_to_the_drop() -> None:
    now = 1_750_000_000_000_000
    gone, gone_set = column("gone", "int"), column("gone_set", "set<int>")
    before = table("t", [KEY], regular=[column("v", "int"), gone, gone_set])
    after = table(
        "t", [KEY], regular=[column("v", "int")], dropped=(DroppedColumn(gone, now), DroppedColumn(gone_set, now))
    )

    def written(timestamp: int) -> PartitionUpdate:
        cell = Cell(b"1234", timestamp)
        elements = ComplexColumn(Deletion(timestamp - 1, 1_750_000_000), (Cell(b"", timestamp, path=b"1234"),))
        row = DecodedRow((), None, None, None, None, {"gone": cell, "v": cell, "gone_set": elements})
        only = DecodedRow((), None, None, None, None, {"gone": cell})
        return PartitionUpdate(before, b"k", 0, None, None, (row, only), ())

    def columns(timestamp: int) -> list[list[str]]:
        (update,), problems = decode(mutation(written(timestamp)), after)
        assert not problems
        return [list(row.columns) for row in update.rows]

    assert columns(now) == [["v"]]
    assert columns(now + 2) == [["gone", "v", "gone_set"], ["gone"]]
    (update,), _ = decode(mutation(written(now + 1)), after)
    assert update.rows[0].columns["gone_set"] == ComplexColumn(None, (Cell(b"", now + 1, path=b"1234"),))


def test_a_boundary_closes_one_range_and_opens_the_next() -> None:
    some = table("t", [KEY], [column("c", "int", "clustering")], [column("v", "int")])
    least = 1_750_000_000_000_000
    outer = PartitionUpdate(
        some,
        b"k",
        0,
        None,
        None,
        (),
        (RangeTombstone((b"aaaa",), True, (b"zzzz",), False, Deletion(least, 1_750_000_000)),),
    )
    payload = mutation(outer)
    end = payload.rindex(b"\x02\x00\x00\x01\x00zzzz")
    for kind, closes, opens in ((2, False, True), (5, True, False)):
        boundary = b"\x02" + bytes([kind]) + b"\x00\x01\x00mmmm" + vint(0) + vint(0) + vint(7) + vint(0)
        (update,), problems = decode(payload[:end] + boundary + payload[end:].replace(b"zzzz\x00", b"zzzz\x07"), some)
        assert not problems
        assert update.ranges == (
            RangeTombstone((b"aaaa",), True, (b"mmmm",), closes, Deletion(least, 1_750_000_000)),
            RangeTombstone((b"mmmm",), opens, (b"zzzz",), False, Deletion(least + 7, 1_750_000_000)),
        )


@pytest.mark.parametrize("kind", [3, 4, 8, 9, 255])
def test_other_kinds_of_bounds_are_errors(kind: int) -> None:
    some = table("t", [KEY], [column("c", "int", "clustering")], [column("v", "int")])
    update = PartitionUpdate(
        some, b"k", 0, None, None, (), (RangeTombstone((b"aaaa",), True, (), False, Deletion(5, 6)),)
    )
    payload = mutation(update).replace(b"\x02\x01\x00\x01", b"\x02" + bytes([kind]) + b"\x00\x01")
    _, (problem,) = decode(payload, some)
    assert "bound" in problem.message


def test_an_unclosed_range_is_an_error() -> None:
    some = table("t", [KEY], [column("c", "int", "clustering")], [column("v", "int")])
    update = PartitionUpdate(
        some, b"k", 0, None, None, (), (RangeTombstone((b"aaaa",), True, (), False, Deletion(5, 6)),)
    )
    payload = mutation(update)
    end = payload.rindex(b"\x02\x00\x00\x00")
    for broken in (payload[:end] + b"\x01", payload[:end] + payload[payload.index(b"\x02\x01") : end] + b"\x01"):
        _, (problem,) = decode(broken, some)
        assert "range" in problem.message


def test_an_empty_update_has_nothing() -> None:
    some = table("t", [KEY], regular=[column("v", "int")])
    update = PartitionUpdate(some, b"key", 0, None, None, (), ())
    assert one(update) == update


def test_the_error_names_an_unknown_column() -> None:
    before = table("t", [KEY], regular=[column("v", "int"), column("lost", "int")])
    row = DecodedRow((), 5, None, None, None, {"v": Cell(b"1234", 5), "lost": Cell(b"1234", 5)})
    payload = mutation(PartitionUpdate(before, b"k", 0, None, None, (row,), ()))
    found, (problem,) = decode(payload, table("t", [KEY], regular=[column("v", "int")]))
    assert not found
    assert "'lost'" in problem.message
    assert problem.data == payload
    assert problem.where == {"segment": "s", "position": 100 + len(payload) + 12}
