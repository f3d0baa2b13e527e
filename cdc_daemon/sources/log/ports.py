"""The tail's settings, and the interfaces that it needs from the rest of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.commitlog.key_update import KeyUpdate
from cdc_daemon.commitlog.schema import SchemaView, TableMetadata
from cdc_daemon.model.errors import CommitLogError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.sources.log.gaps import Gap
from cdc_daemon.store.checkpoints import SeenSegment
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.reconcile_requests import ReconcileRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions:
    """Settings of a tail; times are in seconds.

    follow_markers       read as far as sync markers reach; when false, only what `_cdc.idx` says is durable
    release              delete finished segments; when false they are only recorded as consumed
    may_prune            whether Cassandra may delete unread segments (`cdc_block_writes: false`); set false only
                         if that is known, as it suppresses gaps that are merely possible
    poll_interval        time between two reads of a growing segment
    list_interval        time between two listings of the folder without file events
    rest_interval        time between two looks at a resting segment of 3.11 (see `lifecycle`)
    checkpoint_interval  the least time between two checkpoints
    portion_mutations    the most mutations submitted at once
    open_portions        the most portions submitted and not acknowledged
    source               the checkpoint's name in the store
    """

    follow_markers: bool = True
    release: bool = True
    may_prune: bool = True
    poll_interval: float = 0.02
    list_interval: float = 1.0
    rest_interval: float = 1.0
    checkpoint_interval: float = 0.1
    portion_mutations: int = 1000
    open_portions: int = 1024
    source: str = "commitlog"


class SignalSink(Protocol):
    """Accepts signals; implemented by the pipeline."""

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Accept signals; wait while full. The receipt is held until all of them are acknowledged."""
        ...


class DividedUpdates(Protocol):
    """A portion of the log, divided between this daemon and others."""

    @property
    def own(self) -> Sequence[KeyUpdate]:
        """The updates that this daemon writes."""
        ...

    @property
    def left(self) -> Sequence[KeyUpdate]:
        """The updates that are left to other daemons."""
        ...

    def accept(self, receipt: Receipt) -> Receipt:
        """Hold the portion's receipt for what is left to others, and return the receipt for the own updates.

        It is held once for the caller.
        """
        ...


class Division(Protocol):
    """Divides changes between the daemons of a ring; implemented by `sources.ring.division.ChangeDivision`."""

    def divide(self, updates: Sequence[KeyUpdate], checksums: Sequence[int]) -> DividedUpdates:
        """Divide the updates of a portion, given with the checksum of each one's entry."""
        ...


class CheckpointStore(Protocol):
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


class DeadLetterStore(Protocol):
    """Durable storage for dead letters. It blocks and is called from worker threads."""

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Store letters durably, all or none. Raises `StoreError` when that failed."""
        ...

    def counted_up_to(self, table_id: str) -> tuple[int, int] | None:
        """Return the segment and position up to which an unknown table's letter counts its mutations, or None.

        Raises `StoreError`.
        """
        ...


class ReconcileRequestStore(Protocol):
    """Durable storage for reconcile requests. It blocks and is called from worker threads."""

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        """Request reconciles durably, all or none. Raises `StoreError` when that failed."""
        ...


class SeenSegmentStore(Protocol):
    """Durable storage for the states of segments in the folder. It blocks and is called from worker threads."""

    def load(self) -> Sequence[SeenSegment]:
        """Return the segments by ascending id; the last one is the newest ever seen."""
        ...

    def record(self, seen: Sequence[SeenSegment], gone: Collection[int]) -> None:
        """Store the current states of segments and delete those in `gone`. Raises `StoreError`."""
        ...


class NamedTables(SchemaView, Protocol):
    """Tables by their ids and names."""

    def find(self, keyspace: str, name: str) -> TableMetadata | None:
        """Return the table with this name: the current generation, or the last one if it was dropped."""
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

    def listed(self, segments: int, total_bytes: int, active_bytes: int) -> None:
        """Record the segments and bytes in the folders, and the bytes of active segments (see `Listing`)."""
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

    def listed(self, segments: int, total_bytes: int, active_bytes: int) -> None:
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


class Executor(Protocol):
    """Runs blocking work."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Run the work and return its result."""
        ...


async def in_thread(work: Callable[[], T], /) -> T:
    """Run work in a worker thread of the event loop."""
    return await asyncio.to_thread(work)
