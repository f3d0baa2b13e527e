"""Transactions that fail leave nothing behind: not what they wrote, and not themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc_daemon.model.errors import StateLostError, StoreError
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


def write(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS written (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO written DEFAULT VALUES")


def delete_all(directory: Path) -> None:
    shutil.rmtree(directory)


def empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def restore_a_copy(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))
    shutil.rmtree(directory)
    directory.with_name("copy").rename(directory)


def delete_the_log(directory: Path) -> None:
    (directory / "store-wal").unlink()


@pytest.mark.parametrize("lose", [delete_all, empty, restore_a_copy, delete_the_log])
def test_nothing_is_committed_to_files_that_are_gone(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    database = Database(directory / "store")
    write(database)
    database.check()
    lose(directory)
    for _ in range(2):
        with pytest.raises(StateLostError) as raised:
            write(database)
        assert "restart the daemon" in str(raised.value.hint)
    with pytest.raises(StateLostError):
        database.check()
    database.close()
    directory.mkdir(exist_ok=True)
    again = Database(directory / "store")
    write(again)
    again.close()


def test_files_that_are_put_back_are_used_again(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    database = Database(directory / "store")
    directory.rename(tmp_path / "away")
    with pytest.raises(StateLostError):
        write(database)
    (tmp_path / "away").rename(directory)
    write(database)
    database.close()
