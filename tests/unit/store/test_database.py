"""Transactions that fail leave nothing behind: not what they wrote, and not themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_daemon.errors import StoreError
from cdc_daemon.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "store")
    yield database
    database.close()


def test_a_commit_that_fails_does_not_block_the_next_transaction(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("CREATE TABLE one (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE two (one INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED)")
    with database.reading() as connection:
        connection.execute("PRAGMA foreign_keys = ON")

    def insert() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO two VALUES (7)")  # what it refers to is missed at the commit only

    with pytest.raises(StoreError, match="FOREIGN KEY"):
        insert()
    with database.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM two").fetchone() == (0,)


def test_a_store_that_is_full_says_so_and_goes_on_when_there_is_room(database: Database) -> None:
    def keep() -> None:
        with database.transaction() as connection:
            connection.execute("CREATE TABLE one AS SELECT zeroblob(100000)")

    def limit(pages: int) -> None:
        with database.reading() as connection:
            connection.execute(f"PRAGMA max_page_count = {pages}")

    limit(1)
    with pytest.raises(StoreError) as raised:
        keep()
    assert raised.value.hint == "the disk is full: free some space"
    limit(1 << 20)
    keep()
