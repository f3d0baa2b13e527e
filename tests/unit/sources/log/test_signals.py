from __future__ import annotations

import dataclasses
import struct
from collections import Counter

import pytest

from cdc_daemon.commitlog.key_update import KeyUpdate, RangeKey, RowKey
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.update import PartitionUpdate
from cdc_daemon.model.signal import Scope, Signal
from cdc_daemon.sources.log.signals import common_prefix, count_scopes, signals_of
from cdc_daemon.sources.log.tables import WantedTables
from tests.segments import (
    EVENTS,
    EVENTS_NAME,
    LATECOMERS,
    LATECOMERS_NAME,
    OTHERS,
    SCHEMA,
    USERS,
    USERS_NAME,
    WRITTEN,
    deleted_range,
    deleted_row,
    numbers,
    row,
    update,
)
from tests.unit.commitlog.writer import entry, mutation


def signals(*updates: PartitionUpdate) -> list[Signal]:
    """Return the signals of an update after it was written to a log and read from it."""
    data = entry(mutation(*updates))
    batch = read_keys(Section(data, 0, len(data), 0), SCHEMA, segment="test")
    assert batch.problems == []
    found = list(signals_of(batch.updates))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cdc_daemon.sources.log.signals.Signal", None)  # counting makes none
        assert count_scopes(batch.updates) == Counter((signal.table, signal.scope.value) for signal in found)
    return found


USER = Signal(USERS_NAME, b"k", Scope.ROW)
EVENT = Signal(EVENTS_NAME, b"k", Scope.ROW)


def test_a_row_of_a_table_without_clustering() -> None:
    assert signals(update(USERS, "k", row())) == [USER._replace(written=WRITTEN)]


def test_the_removal_of_a_partition_without_clustering_is_that_of_its_row() -> None:
    assert signals(update(USERS, "k", deleted=WRITTEN)) == [USER._replace(removed=WRITTEN)]


def test_a_row_written_again_in_the_mutation_that_removes_it() -> None:
    both = update(USERS, "k", row(written=WRITTEN + 1), deleted=WRITTEN)
    assert signals(both) == [USER._replace(written=WRITTEN + 1, removed=WRITTEN)]


def test_rows_with_clustering() -> None:
    [first, second] = signals(update(EVENTS, "k", row(1, 2), row(1, 3)))
    assert first == EVENT._replace(clustering=numbers(1, 2), written=WRITTEN)
    assert second == EVENT._replace(clustering=numbers(1, 3), written=WRITTEN)


def test_a_removed_row_with_clustering() -> None:
    assert signals(update(EVENTS, "k", deleted_row(1, 2))) == [
        EVENT._replace(clustering=numbers(1, 2), removed=WRITTEN)
    ]


def test_a_removed_partition_with_clustering() -> None:
    assert signals(update(EVENTS, "k", deleted=WRITTEN)) == [EVENT._replace(scope=Scope.PARTITION, removed=WRITTEN)]


def test_a_partition_removed_and_partly_written_again() -> None:
    [removal, again] = signals(update(EVENTS, "k", row(1, 2, written=WRITTEN + 1), deleted=WRITTEN))
    assert removal == EVENT._replace(scope=Scope.PARTITION, removed=WRITTEN)
    assert again == EVENT._replace(clustering=numbers(1, 2), written=WRITTEN + 1, removed=WRITTEN)


def test_static_columns() -> None:
    assert signals(update(EVENTS, "k", static=True)) == [EVENT._replace(scope=Scope.STATIC, written=WRITTEN)]


def test_a_range_is_said_as_the_prefix_it_lies_under() -> None:
    assert signals(update(EVENTS, "k", ranges=[deleted_range((3, 1), (3,))])) == [
        EVENT._replace(scope=Scope.RANGE, clustering=numbers(3), removed=WRITTEN)
    ]


@pytest.mark.parametrize(
    ("start", "end", "prefix"),
    [
        ((), (), ()),
        ((1,), (1,), (1,)),
        ((1, 5), (1,), (1,)),
        ((1,), (1, 5), (1,)),
        ((1, 2), (1, 9), (1,)),
        ((1,), (2,), ()),
        ((), (2,), ()),
        ((1, 2), (1, 2), (1, 2)),
    ],
)
def test_common_prefix(start: tuple[int, ...], end: tuple[int, ...], prefix: tuple[int, ...]) -> None:
    removed = RangeKey(numbers(*start), start_inclusive=False, end=numbers(*end), end_inclusive=True, deletion=1)
    assert common_prefix(removed) == numbers(*prefix)


def test_every_update_of_a_mutation_has_its_signals() -> None:
    found = signals(update(USERS, "k", row()), update(EVENTS, "k", row(1, 2)))
    assert {signal.table for signal in found} == {USERS_NAME, EVENTS_NAME}


def test_an_unknown_write_time_is_said_as_unknown() -> None:
    never = struct.unpack(">q", b"\x80" + bytes(7))[0]
    change = KeyUpdate(
        USERS, b"k", 1, never, expires=(0,), partition_deletion=None, static=False, rows=(RowKey((), False),), ranges=()
    )
    assert list(signals_of([change])) == [USER._replace(written=0, expires=(0,))]


def test_tables_are_wanted_by_name_and_unknown_ones_are_not_forgotten_about() -> None:
    tables = [USERS, OTHERS]
    schema = Schema(tables)
    wanted = WantedTables(schema, frozenset({USERS_NAME, LATECOMERS_NAME}))
    assert USERS.id in wanted
    assert OTHERS.id not in wanted
    assert LATECOMERS.id not in wanted
    schema.__init__([*tables, LATECOMERS])  # type: ignore[misc]
    assert LATECOMERS.id in wanted


def test_changes_from_before_a_table_had_another_key_are_not_wanted() -> None:
    again = dataclasses.replace(USERS, id=bytes(16))
    rekeyed = dataclasses.replace(USERS, id=bytes(16), clustering=EVENTS.clustering)
    for now, wanted in ((again, True), (rekeyed, False)):
        tables = WantedTables(Schema([now]).merged(Schema([USERS])), frozenset({USERS_NAME}))
        assert (USERS.id in tables) is wanted
        assert now.id in tables
