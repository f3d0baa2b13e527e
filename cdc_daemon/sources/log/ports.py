"""Interfaces that the tail needs from the rest of the daemon, small enough for a simulator."""

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
    """Accepts signals; implemented by the pipeline."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Accept signals; wait while full. The receipt is held until all of them are acknowledged."""
        ...


class Checkpoints(Protocol):
    """Durable positions. Every method blocks and is called from worker threads, one call at a time.

    A method returns when its write is on disk, and raises `StoreError` when that failed.
    """

    def load(self, source: str) -> tuple[int, int] | None:
        """Return the last saved segment id and offset, or None at the first start."""
        ...

    def save(self, source: str, segment_id: int, position: int) -> None:
        """Save a position. The store may keep a higher one instead: see `Tail` for why that is safe."""
        ...

    def consumed(self, segment_id: int) -> int | None:
        """Return the offset up to which a finished segment was read, or None if it is not finished."""
        ...

    def consumed_since(self, segment_id: int) -> Sequence[int]:
        """Return the ids of finished segments from this one on, and of the last one before it, ascending."""
        ...

    def mark_consumed(self, segment_id: int, position: int) -> None:
        """Record that a segment was read to its end and fully acknowledged."""
        ...


class DeadLetters(Protocol):
    """Durable storage for dead letters. It blocks and is called from worker threads."""

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Store letters durably, all or none. Raises `StoreError` when that failed."""
        ...

    def counted_up_to(self, table_id: str) -> tuple[int, int] | None:
        """Return the segment and position up to which an unknown table's letter counts its mutations, or None.

        Raises `StoreError`.
        """
        ...


class ReconcileRequests(Protocol):
    """Durable storage for reconcile requests. It blocks and is called from worker threads."""

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        """Request reconciles durably, all or none. Raises `StoreError` when that failed."""
        ...


class SeenSegments(Protocol):
    """Durable storage for the states of segments in the folder. It blocks and is called from worker threads."""

    def load(self) -> Sequence[SeenSegment]:
        """Return the segments by ascending id; the last one is the newest ever seen."""
        ...

    def record(self, seen: Sequence[SeenSegment], gone: Collection[int]) -> None:
        """Store the current states of segments and delete those in `gone`. Raises `StoreError`."""
        ...


class SchemaProvider(Protocol):
    """Provides the schema of the tables in segments."""

    @property
    def current(self) -> NamedTables:
        """The currently known schema, dropped tables and columns included. It may change between two reads."""
        ...

    async def refresh(self) -> None:
        """Fetch the schema again. Raises `CdcError` when that fails; the caller then retries."""
        ...

    async def agreed(self) -> bool:
        """Return whether all live nodes have the same schema, so no new table is missing. Raises as `refresh` does."""
        ...


class TailObserver(Protocol):
    """Receives the tail's events. Methods are called in the event loop and must return without waiting."""

    def read(self, table: TableName, scope: str, count: int) -> None:
        """Count signals by table and scope."""
        ...

    def passed_over(self, reason: str, count: int) -> None:
        """Count updates without a signal, by reason: `unmapped` (or empty) and `unknown_table`."""
        ...

    def listed(self, segments: int, total_bytes: int) -> None:
        """Record the segments and bytes in the folder."""
        ...

    def saved(self, position: Position) -> None:
        """Record a durable checkpoint."""
        ...

    def released(self, segment_id: int, size: int) -> None:
        """Record a deleted segment and its size in bytes."""
        ...

    def unreadable(self, problem: CommitLogError) -> None:
        """Record an unreadable segment or piece of a segment."""
        ...

    def table_unknown(self) -> None:
        """Record the dead letter of an unknown table."""
        ...

    def gap(self, gap: Gap) -> None:
        """Record missing segments."""
        ...


class NullObserver:
    """Ignores all events."""

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
