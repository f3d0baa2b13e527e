"""A tail with substitutes for its surroundings: stores in memory, a sink that acknowledges on request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cdc_daemon.commitlog.descriptor import Position
from cdc_daemon.commitlog.encryption import Keyring
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.errors import CassandraUnavailableError, CommitLogError, StoreError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.sources.log.gaps import Gap
from cdc_daemon.sources.log.ports import Division, TailOptions
from cdc_daemon.sources.log.tail import Tail
from cdc_daemon.store.checkpoints import SeenSegment, SegmentState
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.store.reconcile_requests import ReconcileRequest
from tests.segments import EVENTS_NAME, LATECOMERS_NAME, SCHEMA, USERS_NAME

MAPPED = frozenset({USERS_NAME, EVENTS_NAME, LATECOMERS_NAME})
PATIENCE = 10.0
"""Seconds after which a test gives up waiting; nothing depends on it."""


class MemoryStore:
    """Checkpoints and dead letters in memory; with `broken` every method raises `StoreError`."""

    def __init__(self) -> None:
        self.saved: dict[str, tuple[int, int]] = {}
        self.ends: dict[int, int] = {}
        self.letters: list[DeadLetter] = []
        self.broken = False

    def load(self, source: str) -> tuple[int, int] | None:
        self._check()
        return self.saved.get(source)

    def save(self, source: str, segment_id: int, position: int) -> None:
        self._check()
        self.saved[source] = max(self.saved.get(source, (0, 0)), (segment_id, position))

    def consumed(self, segment_id: int) -> int | None:
        self._check()
        return self.ends.get(segment_id)

    def consumed_since(self, segment_id: int) -> list[int]:
        self._check()
        before = max((each for each in self.ends if each < segment_id), default=segment_id)
        return sorted(each for each in self.ends if each >= before)

    def mark_consumed(self, segment_id: int, position: int) -> None:
        self._check()
        self.ends[segment_id] = max(self.ends.get(segment_id, 0), position)

    def add(self, letters: Sequence[DeadLetter]) -> None:
        self._check()
        for letter in letters:
            same = [at for at, each in enumerate(self.letters) if letter.table_id and each.table_id == letter.table_id]
            for at in same:
                grown = self.letters[at].count + letter.count
                place, position = letter.segment_id, letter.position
                self.letters[at] = replace(self.letters[at], count=grown, segment_id=place, position=position)
            if not same:
                self.letters.append(letter)

    def counted_up_to(self, table_id: str) -> tuple[int, int] | None:
        self._check()
        found = next((each for each in self.letters if each.table_id == table_id), None)
        return None if found is None else (found.segment_id or 0, found.position or 0)

    def _check(self) -> None:
        if self.broken:
            raise StoreError("the disk is full")


class MemoryRequests:
    """Reconcile requests in a list; raises `StoreError` while its store is broken."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.requests: list[ReconcileRequest] = []

    def add(self, requests: Sequence[ReconcileRequest]) -> None:
        self.store._check()
        self.requests.extend(requests)


class MemorySeen:
    """States of segments in memory; raises `StoreError` while its store is broken."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.segments: dict[int, SeenSegment] = {}

    def load(self) -> list[SeenSegment]:
        self.store._check()
        return [self.segments[each] for each in sorted(self.segments)]

    def record(self, seen: Sequence[SeenSegment], gone: Collection[int]) -> None:
        self.store._check()
        for each in seen:
            before = self.segments.get(each.id)
            cdc = before is not None and before.state is SegmentState.CDC
            self.segments[each.id] = each._replace(state=SegmentState.CDC) if cdc else each
        for segment_id in gone:
            if segment_id < max(self.segments):
                del self.segments[segment_id]
            else:
                self.segments[segment_id] = self.segments[segment_id]._replace(state=SegmentState.PLAIN)


class Sink:
    """A pipeline that holds receipts until `acknowledge`, or acknowledges at once with `instant`."""

    def __init__(self, *, instant: bool = True) -> None:
        self.instant = instant
        self.signals: list[Signal] = []
        self.held: list[Receipt] = []
        self.room = asyncio.Event()
        self.room.set()

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        await self.room.wait()
        self.signals.extend(signals)
        if not self.instant:
            receipt.hold()
            self.held.append(receipt)

    def acknowledge(self, count: int | None = None) -> None:
        """Release the oldest receipts, all by default."""
        for receipt in self.held[:count]:
            receipt.release()
        del self.held[:count]

    @property
    def keys(self) -> list[str]:
        """The partition keys of the signals, in order of arrival."""
        return [signal.partition_key.decode() for signal in self.signals]


class Provider:
    """A schema that becomes `news` at the next refresh."""

    def __init__(self, schema: Schema = SCHEMA, *, news: Schema | None = None, failures: int = 0) -> None:
        self.current = schema
        self.news = news
        self.failures = failures
        self.refreshed = 0

    async def refresh(self) -> None:
        await asyncio.sleep(0)
        self.refreshed += 1
        if self.refreshed <= self.failures:
            raise CassandraUnavailableError("no host is up")
        if self.news is not None:
            self.current = self.news

    async def agreed(self) -> bool:
        await asyncio.sleep(0)
        return True


@dataclass
class Recorder:
    """An observer that records all events."""

    reads: dict[tuple[TableName, str], int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)
    folder: tuple[int, int] = (0, 0)
    active_bytes: int = 0
    positions: list[Position] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)
    problems: list[CommitLogError] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    unknown_tables: int = 0

    def read(self, table: TableName, scope: str, count: int) -> None:
        self.reads[table, scope] = self.reads.get((table, scope), 0) + count

    def passed_over(self, reason: str, count: int) -> None:
        self.passed[reason] = self.passed.get(reason, 0) + count

    def listed(self, segments: int, total_bytes: int, active_bytes: int) -> None:
        self.folder = (segments, total_bytes)
        self.active_bytes = active_bytes

    def saved(self, position: Position) -> None:
        self.positions.append(position)

    def released(self, segment_id: int, size: int) -> None:
        assert size > 0
        self.releases.append(segment_id)

    def unreadable(self, problem: CommitLogError) -> None:
        self.problems.append(problem)

    def table_unknown(self) -> None:
        self.unknown_tables += 1

    def gap(self, gap: Gap) -> None:
        self.gaps.append(gap)


class Harness:
    """One daemon's tail, which tests start, stop and kill; the store survives."""

    def __init__(self, root: Path, *, instant: bool = True, options: TailOptions | None = None) -> None:
        self.folder = root / "cdc_raw"
        self.state = root / "state"
        self.store = MemoryStore()
        self.sink = Sink(instant=instant)
        self.provider = Provider()
        self.observer = Recorder()
        self.requested = MemoryRequests(self.store)
        self.seen = MemorySeen(self.store)
        self.keyring: Keyring | None = None
        self.commitlog: Path | None = None
        self.beats = 0
        self.options = options or fast()
        self.division: Division | None = None
        self.tail: Tail | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def damages(self) -> list[CommitLogError]:
        """The problems reported by the tail, in order."""
        return self.observer.problems

    @property
    def gaps(self) -> list[Gap]:
        """The gaps reported by the tail, in order."""
        return self.observer.gaps

    def start(self) -> None:
        self.tail = Tail(
            self.folder,
            state=self.state,
            sink=self.sink,
            schema=self.provider,
            mapped=MAPPED,
            checkpoints=self.store,
            dead_letters=self.store,
            reconcile_requests=self.requested,
            seen=self.seen,
            options=self.options,
            observer=self.observer,
            beat=self._beat,
            keyring=self.keyring,
            commitlog=self.commitlog,
            division=self.division,
        )
        self._running = asyncio.create_task(self.tail.run())

    async def stop(self, deadline: float = PATIENCE) -> None:
        """Stop as SIGTERM does. Raises the exception that ended the tail."""
        assert self.tail is not None
        assert self._running is not None
        await self.tail.stop(deadline)
        await self._running

    async def kill(self) -> None:
        """End as kill -9 does: nothing more is saved, and open receipts are lost."""
        assert self._running is not None
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        self.sink.held.clear()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; fail if the tail ends or after `PATIENCE`."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < give_up, "waited in vain"
            if self._running is not None and self._running.done():
                self._running.result()
            await asyncio.sleep(0.001)

    async def settle(self, turns: int = 30) -> None:
        """Run the tail for a few rounds, to see that something does *not* happen."""
        before = self.beats
        await self.until(lambda: self.beats >= before + turns)

    def _beat(self, name: str) -> None:
        assert name == "tail"
        self.beats += 1


def fast(
    *,
    follow_markers: bool = True,
    release: bool = True,
    may_prune: bool = True,
    portion_mutations: int = 1000,
    open_portions: int = 1024,
) -> TailOptions:
    """Return options with short intervals."""
    return TailOptions(
        follow_markers=follow_markers,
        release=release,
        may_prune=may_prune,
        poll_interval=0.001,
        list_interval=0.005,
        rest_interval=0.005,
        checkpoint_interval=0.001,
        portion_mutations=portion_mutations,
        open_portions=open_portions,
    )
