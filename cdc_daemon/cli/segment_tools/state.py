"""Read the state directory of a daemon that may be running. Nothing is created, locked or written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from cdc_daemon.cli.output import say
from cdc_daemon.config import Settings
from cdc_daemon.model.errors import StoreError
from cdc_daemon.sources.log.ports import TailOptions
from cdc_daemon.store.reconcile_requests import ReconcileRequest, read_open_requests
from cdc_daemon.store.store import FILE_NAME
from cdc_daemon.store.table_history import TableDefinition, read_generations

T = TypeVar("T")

_SOURCE: Final = TailOptions().source


class DaemonState:
    """The state directory of a daemon that may be running. All methods raise `StoreError`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    @property
    def exists(self) -> bool:
        """Whether a daemon has ever stored anything here."""
        return self.path.is_file()

    def generations(self) -> list[TableDefinition]:
        """Return the schema history: all table definitions that the daemon has seen, oldest first."""
        return self._ask(read_generations)

    def checkpoint(self) -> tuple[int, int] | None:
        """Return the checkpoint: the segment id and position up to which everything is acknowledged, or None."""
        found = self._ask(
            lambda connection: connection.execute(
                "SELECT segment_id, position FROM checkpoint WHERE source = ?", (_SOURCE,)
            ).fetchall()
        )
        return (found[0][0], found[0][1]) if found else None

    def consumed(self) -> dict[int, int]:
        """Return the end position of each segment that was read completely, by segment id."""
        return self._ask(
            lambda connection: dict(connection.execute("SELECT segment_id, position FROM consumed_segment").fetchall())
        )

    def reconcile_requests(self) -> list[ReconcileRequest]:
        """Return the open reconcile requests, oldest first."""
        return self._ask(read_open_requests)

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        # Without a write-ahead log no process has the file open, and reading it as immutable creates no files.
        mode = "mode=ro" if self.path.with_name(f"{FILE_NAME}-wal").exists() else "mode=ro&immutable=1"
        try:
            with closing(sqlite3.connect(f"file:{quote(str(self.path))}?{mode}", uri=True, timeout=5)) as connection:
                return question(connection)
        except sqlite3.Error as error:
            raise StoreError(f"SQLite says: {error}", file=str(self.path)) from error


@dataclass(frozen=True, slots=True)
class Consumption:
    """How far a daemon has consumed segments: its checkpoint, and the end position of each completed segment, by id."""

    checkpoint: tuple[int, int] | None
    consumed: dict[int, int]

    def of(self, segment_id: int) -> tuple[str, int | None]:
        """Return whether a segment is consumed (`yes`, `partly`, `no`), and up to which position."""
        if segment_id in self.consumed:
            return "yes", self.consumed[segment_id]
        if self.checkpoint is not None and self.checkpoint[0] == segment_id and self.checkpoint[1] > 0:
            return "partly", self.checkpoint[1]
        return "no", None


def read_consumption(settings: Settings | None) -> Consumption | None:
    """Return how far the daemon of this configuration has consumed segments, or None if that is unknown."""
    if settings is None:
        return None
    state = DaemonState(settings.state.directory)
    if not state.exists:
        return None
    try:
        return Consumption(state.checkpoint(), state.consumed())
    except StoreError as error:
        say(f"note: {error}; it is not known which segments are consumed")
        return None
