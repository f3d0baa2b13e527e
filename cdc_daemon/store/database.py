"""The SQLite file: durable transactions, and keys as columns of its tables."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from cdc_daemon.model.errors import StateLostError, StoreError
from cdc_daemon.model.signal import Clustering, Key, TableName
from cdc_daemon.store.migrations import MIGRATIONS

_PARTITION = b""
"""Clustering value of a whole partition's key, for columns that are not null."""

Place = tuple[str, str, bytes, bytes]
"""Keyspace, table, partition key and clustering: the columns that identify a key."""


class Database:
    """A SQLite file in WAL mode with `synchronous=FULL`: a commit that returned survives a power cut.

    It may be used from any thread; transactions of several threads are serialised. Each commit checks that the opened
    file still exists under its name: a commit to a deleted file is lost. After damage was found, no commit succeeds.
    Raises `StoreError` for a file that cannot be opened, is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = [path.with_name(f"{path.name}{ending}") for ending in ("", "-wal", "-shm")]
        self._lock = threading.Lock()
        self._damage: str | None = None
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate()
            found = _find_damage(self._connection)
        except sqlite3.Error as error:
            raise _store_error(error, path) from error
        if found is not None:
            self._connection.close()
            raise StoreError(f"SQLite says: {found}", hint=_DAMAGED, file=str(path))
        self._identities = self._current_identities()

    def check(self) -> None:
        """Raise `StateLostError` if the opened files no longer exist, or if damage was found in them."""
        if self._damage is not None:
            raise StateLostError(
                f"the file is damaged: SQLite says: {self._damage}",
                hint=f"nothing is acknowledged any more. Stop the daemon; then {_DAMAGED}",
                file=str(self.path),
            )
        if self._current_identities() != self._identities:
            raise StateLostError(
                "expected the files that were opened at the start, found them deleted or replaced",
                hint="nothing is acknowledged any more. Put the files back if they were moved; otherwise restart the "
                "daemon: it begins a new state and reads all of cdc_raw again. The old state's spooled keys and dead "
                "letters are lost: compare the tables (cdc-daemon reconcile TYPE --repair)",
                file=str(self.path),
            )

    def verify(self) -> None:
        """Read the whole file, beside its other use, and raise `StateLostError` if it is damaged.

        Damage that is found once is remembered: `check` and each further transaction raise too.
        """
        try:
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
            try:
                self._damage = self._damage or _find_damage(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            self._note_damage(error)
        self.check()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one durable transaction; an exception in it rolls everything back.

        Raises `StoreError`, and `StateLostError` if the commit went to a deleted file.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # A full or failing disk may have rolled it back already.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                self._note_damage(error)
                raise _store_error(error, self.path) from error
            self.check()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run the block's queries without writing."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                self._note_damage(error)
                raise _store_error(error, self.path) from error

    def close(self) -> None:
        """Close the file. Committed data is kept."""
        with self._lock:
            self._connection.close()

    def _note_damage(self, error: sqlite3.Error) -> None:
        if _is_damage(error):
            self._damage = self._damage or str(error)

    def _current_identities(self) -> list[tuple[int, int] | None]:
        """Return the identities of the database's current files: the file, its log, and the log's index."""
        return [_identity(path) for path in self._files]

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"its version is {version}, this cdc-daemon knows up to {len(MIGRATIONS)}",
                hint="run the newer cdc-daemon that wrote it, or give this one a state directory of its own",
                file=str(self.path),
            )
        for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")


def encode_clustering(clustering: Sequence[bytes | None]) -> bytes:
    """Return a clustering key, or a prefix of one, as JSON with the values' bytes in hexadecimal."""
    return orjson.dumps([None if part is None else part.hex() for part in clustering])


def decode_clustering(text: bytes | str) -> Clustering:
    """Decode the result of `encode_clustering`."""
    return tuple(None if part is None else bytes.fromhex(part) for part in orjson.loads(text))


def key_columns(key: Key) -> Place:
    """Return the column values for the key of a row or a whole partition."""
    (keyspace, table), partition_key, clustering = key
    return keyspace, table, partition_key, _PARTITION if clustering is None else encode_clustering(clustering)


def key_from_columns(keyspace: str, table: str, partition_key: bytes, clustering: bytes) -> Key:
    """Return the key for the result of `key_columns`."""
    decoded = None if clustering == _PARTITION else decode_clustering(clustering)
    return Key(TableName(keyspace, table), partition_key, decoded)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_DAMAGED = (
    "move the file away, with those beside it that end in -wal and -shm, and start the daemon. It then begins a new "
    "state and reads all of cdc_raw again. The old state's spooled keys and dead letters are lost: compare the tables "
    "(cdc-daemon reconcile TYPE --repair)"
)


def _find_damage(connection: sqlite3.Connection) -> str | None:
    """Return what is wrong with the pages of the file, or None. It reads the whole file.

    Some releases of SQLite (3.40.1 is one) have a quick check that finds NULL values in a sound table WITHOUT ROWID
    whose primary key has another order than its columns. So the slower check has the last word.
    """
    found = ""
    for check in ("quick_check", "integrity_check"):
        (found,) = connection.execute(f"PRAGMA {check}(1)").fetchone()
        if found == "ok":
            return None
    return " ".join(str(found).split())


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    hint = "the disk is full: free some space" if "full" in str(error) else None
    if "disk I/O error" in str(error):
        hint = "free some space on its file system if it is full; otherwise look at the kernel's log for a failing disk"
    if _is_damage(error):
        hint = _DAMAGED
    return StoreError(f"SQLite says: {error}", hint=hint, file=str(path))
