from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_daemon.model.reading import Lifetime
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store import Store
from cdc_daemon.store.expiries import AGAIN_AFTER, FROM_LOG, FROM_LOG_AGAIN, FROM_READ, Expiry

TABLE = TableName("k", "t")
ONE, OTHER = Key(TABLE, b"p", (b"c", None)), Key(TABLE, b"p", ())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def test_what_was_seen_takes_the_place_of_what_was_seen_before(store: Store) -> None:
    store.expiries.keep([Lifetime(ONE, 100, ()), Lifetime(OTHER, 50, ())])
    store.expiries.keep([Lifetime(ONE, 70, ())])
    assert store.expiries.due(69, 10) == [Expiry(OTHER, FROM_READ, 50)]
    assert store.expiries.due(70, 10) == [Expiry(OTHER, FROM_READ, 50), Expiry(ONE, FROM_READ, 70)]
    assert store.expiries.due(1000, 1) == [Expiry(OTHER, FROM_READ, 50)]
    store.expiries.keep([Lifetime(ONE, None, ()), Lifetime(OTHER, None, ())])
    assert store.expiries.due(1000, 10) == []
    assert store.expiries.count == 0


def test_what_the_log_has_told_stays_beside_it_and_is_looked_at_twice(store: Store) -> None:
    store.expiries.keep([Lifetime(ONE, 60, (50, 80))])
    store.expiries.keep([Lifetime(ONE, None, (50,))])
    assert store.expiries.count == 2
    first = store.expiries.due(50, 10)
    assert first == [Expiry(ONE, FROM_LOG, 50)]
    store.expiries.done(first)
    second = store.expiries.due(79, 10)
    assert second == [Expiry(ONE, FROM_LOG_AGAIN, 50 + AGAIN_AFTER)]
    store.expiries.done(second)
    assert store.expiries.due(1000, 10) == [Expiry(ONE, FROM_LOG, 80)]


def test_an_expiry_that_was_put_off_meanwhile_is_not_done(store: Store) -> None:
    store.expiries.keep([Lifetime(ONE, 50, ())])
    due = store.expiries.due(50, 10)
    store.expiries.keep([Lifetime(ONE, 55, ())])
    store.expiries.done(due)
    assert store.expiries.due(60, 10) == [Expiry(ONE, FROM_READ, 55)]


def test_an_expiry_is_noted_only_where_no_read_has_found_one(store: Store) -> None:
    store.expiries.keep([Lifetime(ONE, 50, (70,))])
    store.expiries.note([(ONE, 40), (OTHER, 60)])
    store.expiries.note([(OTHER, 61)])
    assert store.expiries.due(1000, 10) == [
        Expiry(ONE, FROM_READ, 50),
        Expiry(OTHER, FROM_READ, 60),
        Expiry(ONE, FROM_LOG, 70),
    ]
    assert store.expiries.count == 3


def test_expiries_outlive_the_process(store: Store, tmp_path: Path) -> None:
    store.expiries.add_table(TABLE)
    store.expiries.add_table(TABLE)
    store.expiries.keep([Lifetime(ONE, 50, (70,))])
    again = Store(tmp_path)
    assert again.expiries.tables == {TABLE}
    assert again.expiries.count == 2
    assert again.expiries.due(50, 10) == [Expiry(ONE, FROM_READ, 50)]
    again.close()
