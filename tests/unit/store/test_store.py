from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.model.errors import StoreError
from cdc_daemon.model.version_clock import VersionRange
from cdc_daemon.store import Store
from cdc_daemon.store.database import Database
from cdc_daemon.store.dead_letters import DeadLetter


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def test_checkpoint_survives_a_new_opening(tmp_path: Path) -> None:
    first = Store(tmp_path)
    assert first.checkpoints.load("node") is None
    first.checkpoints.save("node", 7, 512)
    first.close()
    assert Store(tmp_path).checkpoints.load("node") == (7, 512)


def test_checkpoint_never_moves_back(store: Store) -> None:
    store.checkpoints.save("node", 7, 512)
    store.checkpoints.save("node", 7, 100)
    store.checkpoints.save("node", 6, 900)
    assert store.checkpoints.load("node") == (7, 512)
    store.checkpoints.save("node", 8, 0)
    assert store.checkpoints.load("node") == (8, 0)


def test_sources_do_not_see_each_other(store: Store) -> None:
    store.checkpoints.save("one", 7, 1)
    assert store.checkpoints.load("two") is None


def test_consumed_segments_are_remembered_with_their_end(store: Store) -> None:
    assert store.checkpoints.consumed(5) is None
    store.checkpoints.mark_consumed(5, 1000)
    store.checkpoints.mark_consumed(5, 900)
    assert store.checkpoints.consumed(5) == 1000


def test_consumed_segments_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.store.checkpoints.KEPT_CONSUMED_SEGMENTS", 3)
    for segment in range(10):
        store.checkpoints.mark_consumed(segment, 1)
    assert [s for s in range(10) if store.checkpoints.consumed(s) is not None] == [7, 8, 9]


def test_the_clock_steps_back_and_what_was_given_out_stays_known(store: Store) -> None:
    store.raise_clock_bound(5_000)
    store.step_clock_back(70, VersionRange(50, 5_000))
    assert store.clock() == (70, VersionRange(50, 5_000))
    assert store.clock_bound() == 5_000
    store.raise_clock_bound(90)
    assert store.clock() == (90, VersionRange(50, 5_000))


def test_clock_bound_only_rises(store: Store) -> None:
    assert store.clock_bound() == 0
    store.raise_clock_bound(50)
    store.raise_clock_bound(40)
    assert store.clock_bound() == 50


@given(
    key=st.binary(max_size=20),
    clustering=st.none() | st.lists(st.none() | st.binary(max_size=8), max_size=3).map(tuple),
    payload=st.none() | st.binary(max_size=50),
)
def test_dead_letters_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    key: bytes,
    clustering: tuple[bytes | None, ...] | None,
    payload: bytes | None,
) -> None:
    store = Store(tmp_path_factory.mktemp("state"))
    letter = DeadLetter(
        kind="document",
        reason="document_parsing_exception",
        detail={"why": "dob is no date"},
        keyspace="sunbird",
        table="user",
        partition_key=key,
        clustering=clustering,
        segment_id=1,
        position=2,
        payload=payload,
        at=17,
    )
    store.dead_letters.add([letter])
    assert store.dead_letters.count() == 1
    (found,) = store.dead_letters.list()
    assert found.id is not None
    for field in DeadLetter.__dataclass_fields__:
        if field != "id":
            assert getattr(found, field) == getattr(letter, field)
    store.close()


def test_a_newer_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "cdc-daemon.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="version is 99") as caught:
        Store(tmp_path)
    assert caught.value.hint is not None


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cdc-daemon.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(tmp_path)


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created"):
        Store(tmp_path / "file" / "state")


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.sqlite3")

    def insert_and_fail() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO checkpoint VALUES ('a', 1, 1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        insert_and_fail()
    with database.reading() as connection:
        assert connection.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)
    database.close()


def test_the_node_of_the_state_is_remembered(tmp_path: Path) -> None:
    first = Store(tmp_path)
    assert first.own_node() is None
    first.remember_own_node("one")
    first.remember_own_node("two")
    first.close()
    assert Store(tmp_path).own_node() == "two"
