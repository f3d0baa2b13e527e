"""The first copies of tables into new indices: which are wanted, and how far each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from cdc_daemon.store.database import Database

CopyState = Literal["waiting", "running", "done", "failed", "cancelled"]


class FirstCopy(NamedTuple):
    """The first copy of one object type, or the copy into an index that was created again.

    `job` is the id of the backfill that does it; while it waits, that of an earlier copy, or None.
    """

    state: CopyState
    job: str | None = None


class FirstCopies:
    """The first copies by object type. `all` reads memory only; other methods block for the commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as connection:
            rows = connection.execute("SELECT object_type, state, job FROM first_copy ORDER BY object_type").fetchall()
        self._copies = {name: FirstCopy(state, job) for name, state, job in rows}

    @property
    def all(self) -> Mapping[str, FirstCopy]:
        """The first copies by object type."""
        return self._copies

    def put(self, object_type: str, copy: FirstCopy) -> None:
        """Store the state of a type's first copy durably."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO first_copy VALUES (?, ?, ?)", (object_type, *copy))
        self._copies = {**self._copies, object_type: copy}

    def restore(self, object_type: str, copy: FirstCopy | None) -> None:
        """Store an earlier record of a type again; None removes it."""
        if copy is None:
            self.forget(object_type)
        else:
            self.put(object_type, copy)

    def forget(self, object_type: str) -> None:
        """Remove the record of a type: its index existed, or no copy is wanted."""
        if object_type not in self._copies:
            return
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM first_copy WHERE object_type = ?", (object_type,))
        self._copies = {name: copy for name, copy in self._copies.items() if name != object_type}
