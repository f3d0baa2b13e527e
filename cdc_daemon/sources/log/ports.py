"""What the tail needs of the rest of the daemon: narrow enough for a simulator."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from cdc_daemon.model.errors import CommitLogError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.sources.log.gap import Gap
from cdc_daemon.sources.log.position import Position
from cdc_daemon.sources.log.signals import NamedTables
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.reconcile_requests import ReconcileRequest
from cdc_daemon.store.seen_segments import SeenSegment


class SignalSink(Protocol):
    """Takes signals over; the pipeline."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in; wait while there is no room. The receipt is held for what is not settled yet."""
        ...


class Checkpoints(Protocol):
    """Durable positions. Every method blocks and is called from worker threads, one call at a time.

    A method returns when what it wrote is on the disk, and raises `StoreError` when that failed.
    """

    def load(self, source: str) -> tuple[int, int] | None:
        """Return the segment id and offset saved last, or None at the first start."""
        ...

    def save(self, source: str, segment_id: int, position: int) -> None:
        """Keep a position. It may keep the one it has where that is higher: see `Tail` for why that is safe."""
        ...

    def consumed(self, segment_id: int) -> int | None:
        """Return the offset up to which a finished segment was read, or None when it was not finished."""
        ...

    def consumed_since(self, segment_id: int) -> Sequence[int]:
        """Return the ids of finished segments from this one on, and that of the last one before it, ascending."""
        ...

    def mark_consumed(self, segment_id: int, position: int) -> None:
        """Keep that a segment was read to its end and all in it is acknowledged."""
        ...


class DeadLetters(Protocol):
    """Durable storage for what cannot be used. It blocks and is called from worker threads."""

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Keep letters durably, all or none. Raises `StoreError` when that failed."""
        ...

    def counted_up_to(self, table_id: str) -> tuple[int, int] | None:
        """Return the segment and position up to which an unknown table's letter counts its mutations, or None.

        Raises `StoreError`.
        """
        ...


class ReconcileRequests(Protocol):
    """Durable storage for what has to be compared with Cassandra. It blocks and is called from worker threads."""

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        """Ask for reconciles durably, all or none. Raises `StoreError` when that failed."""
        ...


class SeenSegments(Protocol):
    """Durable storage for what is known of the segments in the folder. It blocks and is called from worker threads."""

    def load(self) -> Sequence[SeenSegment]:
        """Return the segments by ascending id; the last one is the newest that was ever seen."""
        ...

    def record(self, seen: Sequence[SeenSegment], gone: Collection[int]) -> None:
        """Keep segments as they are now and forget those that are accounted for. Raises `StoreError`."""
        ...


class SchemaProvider(Protocol):
    """Knows the tables that segments speak of."""

    @property
    def current(self) -> NamedTables:
        """The schema as known now, dropped tables and columns included. It may change between two readings."""
        ...

    async def refresh(self) -> None:
        """Fetch the schema again. Raises `CdcError` when that cannot be done now; it is then tried again."""
        ...

    async def agreed(self) -> bool:
        """Tell whether all nodes that are up have the same schema, so that no table is still on its way. Raises so."""
        ...


class TailObserver(Protocol):
    """Is told what the tail does. Methods are called in the event loop and must return at once."""

    def read(self, table: TableName, scope: str, count: int) -> None:
        """Take note of signals read, by the table and how much of it they speak of."""
        ...

    def passed_over(self, reason: str, count: int) -> None:
        """Take note of updates that make no signal: `unmapped` (or empty) and `unknown_table`."""
        ...

    def listed(self, segments: int, total_bytes: int) -> None:
        """Take note of what is in the folder."""
        ...

    def saved(self, position: Position) -> None:
        """Take note of a durable checkpoint."""
        ...

    def released(self, segment_id: int, size: int) -> None:
        """Take note of a segment that was deleted, with the bytes it had."""
        ...

    def unreadable(self, problem: CommitLogError) -> None:
        """Take note of a piece of a segment, or a whole one, that cannot be read."""
        ...

    def table_unknown(self) -> None:
        """Take note that a table which no schema has got its dead letter."""
        ...

    def gap(self, gap: Gap) -> None:
        """Take note that segments are missing."""
        ...


class NullObserver:
    """Takes no note of anything."""

    def read(self, table: TableName, scope: str, count: int) -> None:
        """Do nothing."""

    def passed_over(self, reason: str, count: int) -> None:
        """Do nothing."""

    def listed(self, segments: int, total_bytes: int) -> None:
        """Do nothing."""

    def saved(self, position: Position) -> None:
        """Do nothing."""

    def released(self, segment_id: int, size: int) -> None:
        """Do nothing."""

    def unreadable(self, problem: CommitLogError) -> None:
        """Do nothing."""

    def table_unknown(self) -> None:
        """Do nothing."""

    def gap(self, gap: Gap) -> None:
        """Do nothing."""
