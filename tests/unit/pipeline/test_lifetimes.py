"""When values expire: from the reading of a row, and from the log where the reading does not show it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cdc_daemon.model.reading import Lifetime, Reading, RowState
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.lifetimes import Lifetimes, lifetime

TABLE = TableName("k", "t")
NOW = 1000.0


def entry(*moments: int) -> Entry:
    made = Entry(Key(TABLE, b"p", ()))
    made.add(Signal(TABLE, b"p", Scope.ROW, written=1, expires=moments), None)
    return made


@pytest.mark.parametrize(
    ("told", "seen", "expected"),
    [
        ((), (), (None, ())),
        ((1010,), (1010, 1500), (1010, ())),  # what can be read is known better by reading
        ((1011,), (1010,), (1010, ())),  # two clocks
        ((1200,), (1010,), (1010, (1200,))),
        ((1200,), (), (None, (1200,))),  # a row without values, a cell of a collection
        ((0,), (1010,), (1010, ())),
        ((900,), (), (None, ())),  # it is over, and the row was read after it
    ],
)
def test_a_row_expires_when_its_reading_or_else_the_log_says(
    told: tuple[int, ...], seen: tuple[int, ...], expected: tuple[int | None, tuple[int, ...]]
) -> None:
    found = lifetime(entry(*told), RowState(("p",), 1, None, seen), NOW)
    assert (found.seen, found.logged) == expected


def test_what_is_joined_may_expire_first_and_stands_for_nothing_that_the_log_has_told() -> None:
    state = RowState(("p",), 1, None, (1500,), joined_expires=1200)
    assert lifetime(entry(1200), state, NOW)[1:] == (1200, (1200,))
    assert lifetime(entry(), state._replace(expires=()), NOW)[1:] == (1200, ())


def test_a_row_that_is_gone_expires_no_more() -> None:
    assert lifetime(entry(1200), RowState(None, None), NOW)[1:] == (None, ())


def test_moments_of_several_changes_are_kept_together() -> None:
    both = entry(1200)
    both.merge(entry(1100, 1200))
    assert both.expires == (1100, 1200)


class Kept:
    def __init__(self, *, tracked: bool) -> None:
        self.tracked = tracked
        self.lifetimes: list[Lifetime] = []

    def tracks(self, table: TableName) -> bool:
        assert table == TABLE
        return self.tracked

    def expect(self, table: TableName) -> None:
        assert table == TABLE
        self.tracked = True

    def keep(self, lifetimes: Sequence[Lifetime]) -> None:
        self.lifetimes += lifetimes


async def test_nothing_is_kept_of_a_table_without_lives_until_a_change_tells_of_one() -> None:
    kept = Kept(tracked=False)
    lives = Lifetimes(kept, now=lambda: NOW)
    reading = Reading(1, 0.0, ("p",), [RowState(("p",), 1)])
    await lives.expect(TABLE, [entry()])
    await lives.keep([entry()], reading)
    assert kept.lifetimes == []
    await lives.expect(TABLE, [entry(), entry(1500)])
    assert kept.tracked
    await lives.keep([entry()], reading)
    assert kept.lifetimes == [Lifetime(entry().key, None, ())]


async def test_of_a_table_without_lives_those_of_what_is_joined_are_kept() -> None:
    kept = Kept(tracked=False)
    lives = Lifetimes(kept, now=lambda: NOW)
    await lives.keep([entry()], Reading(1, 0.0, ("p",), [RowState(("p",), 1, joined_expires=1200)]))
    assert kept.lifetimes == [Lifetime(entry().key, 1200, ())]


async def test_without_a_store_nothing_is_kept() -> None:
    lives = Lifetimes(None)
    await lives.expect(TABLE, [entry(5)])
    await lives.keep([entry(5)], Reading(1, 0.0, ("p",), [RowState(("p",), 1)]))
