"""Transactions that fail leave nothing behind: not what they wrote, and not themselves."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc_daemon.model.errors import StateLostError, StoreError
from cdc_daemon.store.database import Database
from cdc_daemon.store.migrations import MIGRATIONS


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


def overwrite_pages(path: Path) -> None:
    """Overwrite all pages but the first, as a failing disk or another program does."""
    size = path.stat().st_size
    assert size > 8192
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def filled(path: Path) -> Database:
    """Return a database whose rows are in the file itself, and not only in its log."""
    database = Database(path)
    with database.transaction() as connection:
        connection.execute("CREATE TABLE filled (id INTEGER PRIMARY KEY, v BLOB)")
        connection.executemany("INSERT INTO filled (v) VALUES (?)", [(bytes(1000),)] * 200)
    with database.reading() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


def test_after_pages_were_overwritten_nothing_is_committed(tmp_path: Path) -> None:
    database = filled(tmp_path / "store")
    database.verify()
    write(database)
    overwrite_pages(tmp_path / "store")
    with pytest.raises(StateLostError, match="damaged") as raised:
        database.verify()
    assert "move the file away" in str(raised.value.hint)
    for attempt in (database.verify, database.check, lambda: write(database)):
        with pytest.raises(StoreError):
            attempt()
    database.close()


def test_overwritten_pages_are_noticed_by_a_transaction_too(tmp_path: Path) -> None:
    database = filled(tmp_path / "store")
    database.close()
    database = Database(tmp_path / "store")
    with database.reading() as connection:
        connection.execute("PRAGMA shrink_memory")  # the start has read all pages
    overwrite_pages(tmp_path / "store")
    with pytest.raises(StoreError) as raised, database.reading() as connection:
        connection.execute("SELECT sum(length(v)) FROM filled").fetchone()
    assert "move the file away" in str(raised.value.hint)
    with pytest.raises(StateLostError, match="damaged"):
        database.check()
    database.close()


def test_a_file_with_overwritten_pages_is_refused_and_a_new_one_takes_its_place(tmp_path: Path) -> None:
    filled(tmp_path / "store").close()
    overwrite_pages(tmp_path / "store")
    with pytest.raises(StoreError, match="SQLite says") as raised:
        Database(tmp_path / "store")
    assert "move the file away" in str(raised.value.hint)
    (tmp_path / "store").rename(tmp_path / "damaged")
    database = Database(tmp_path / "store")
    write(database)
    database.close()


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_the_store_of_each_earlier_version_is_upgraded(tmp_path: Path, version: int) -> None:
    connection = sqlite3.connect(tmp_path / "store")
    for number, step in enumerate(MIGRATIONS[:version], start=1):
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
    if version:
        connection.execute("INSERT INTO checkpoint VALUES ('node', 7, 512)")
        connection.commit()
    connection.close()
    database = Database(tmp_path / "store")
    database.verify()
    with database.reading() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert connection.execute("SELECT * FROM checkpoint").fetchall() == [("node", 7, 512)] * bool(version)
    database.close()


def test_a_table_whose_key_has_another_order_than_its_columns_is_sound(tmp_path: Path) -> None:
    database = Database(tmp_path / "store")
    with database.transaction() as connection:
        connection.execute("INSERT INTO left_expiry VALUES ('b', x'01', 'k', 't', x'02', x'03', 4)")
        connection.execute("INSERT INTO expiry VALUES ('k', 't', x'02', x'03', 1, 4)")
    database.verify()
    database.close()
    Database(tmp_path / "store").close()
