"""Writes, markers, crashes of either side, acknowledgements, in any order: nothing is lost or released early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal
from cdc_daemon.sources.log.tail import Tail
from tests.segments import CommitLogWriter, MovedSegmentWriter, SegmentWriter, other, user
from tests.unit.sources.log.harness import MAPPED, MemoryRequests, MemorySeen, MemoryStore, Provider, fast

pytestmark = pytest.mark.slow

SMALL_SEGMENT = 512
"""Bytes: room for a handful of entries, so that segments fill up quickly."""


T = TypeVar("T")


async def inline(work: Callable[[], T], /) -> T:
    """Run work directly in the event loop."""
    return work()


class CountingSink:
    """Records which keys are submitted and which are acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.held: list[tuple[Receipt, list[str]]] = []

    async def submit(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        receipt.hold()
        self.held.append((receipt, [signal.partition_key.decode() for signal in signals]))

    def acknowledge(self, place: int) -> None:
        receipt, keys = self.held.pop(place % len(self.held))
        self.acknowledged.update(keys)
        receipt.release()


class Interleavings(RuleBasedStateMachine):
    """Cassandra and the daemon take turns in an order chosen by Hypothesis."""

    make_segment: type[SegmentWriter] = SegmentWriter

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = TemporaryDirectory()
        self.root = Path(self.directory.name)
        self.node = CommitLogWriter(self.root, size=SMALL_SEGMENT, make_segment=self.make_segment)
        self.store = MemoryStore()
        self.requested = MemoryRequests(self.store)
        self.seen = MemorySeen(self.store)
        self.written: dict[str, tuple[SegmentWriter, int]] = {}
        self.linked: set[int] = set()

    @property
    def commitlog(self) -> Path | None:
        """The commit-log folder, if the daemon reads there."""
        return None

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        self.runner.run(work)

    @initialize()
    def start_daemon(self) -> None:
        self.sink = CountingSink()
        self.tail = Tail(
            self.node.cdc_raw,
            state=self.root / "state",
            sink=self.sink,
            schema=Provider(),
            mapped=MAPPED,
            checkpoints=self.store,
            dead_letters=self.store,
            options=replace(fast(portion_mutations=2, may_prune=False), rest_interval=0.0),
            commitlog=self.commitlog,
            reconcile_requests=self.requested,
            seen=self.seen,
            executor=inline,
        )

        async def begin() -> None:
            self.keeper = await self.tail._begin()
            self.reader = self.tail._make_reader(self.keeper)
            self.monitor = self.tail._make_monitor(self.keeper)

        self.run(begin())

    # Cassandra's side.

    def put(self, segment: SegmentWriter, *, cdc: bool) -> bool:
        key = f"key-{len(self.written)}"
        if not segment.add(user(key) if cdc else other(key), cdc=cdc):
            return False
        if cdc:
            self.written[key] = segment, segment.entry_ends[-1]
        return True

    @rule(
        kinds=st.lists(st.booleans(), min_size=1, max_size=6),
        then=st.sampled_from(["nothing", "mark", "sync", "advance", "advance and linger", "advance and flush"]),
    )
    def write(self, kinds: list[bool], then: str) -> None:
        """Write entries with and without CDC, going on to further segments where one is full.

        After advancing, the old segment can linger unclosed; or memtables are flushed and old segments discarded.
        """
        for cdc in kinds:
            while not self.put(self.node.current, cdc=cdc):
                self.node.advance()
        if then in {"mark", "sync"}:
            self.mark_all(sync=then == "sync")
        elif then != "nothing":
            self.node.advance(close=then != "advance and linger")
        if then == "advance and flush":
            for segment in self.node.segments[:-2]:
                if segment.closed and segment.path.exists():
                    segment.discard()

    @precondition(lambda self: self.closing())
    @rule(cdc=st.booleans(), first=st.booleans(), close=st.booleans())
    def write_late(self, *, cdc: bool, first: bool, close: bool) -> None:
        """A late writer uses segments that are not current any more and not closed yet, then they are closed."""
        for segment in self.closing():
            if first:
                segment.mark()
            self.put(segment, cdc=cdc)
            segment.mark()
            if close:
                segment.close()

    @rule(clean=st.booleans())
    def restart_cassandra(self, *, clean: bool) -> None:
        if clean:
            self.node.shut_down_and_start()
        else:
            self.node.crash_and_restart()

    def closing(self) -> list[SegmentWriter]:
        return [segment for segment in self.node.segments[:-2] if not segment.closed]

    def mark_all(self, *, sync: bool) -> None:
        """Mark or sync every active segment in the order of their ids, as `sync` of the manager does."""
        for segment in self.node.segments[:-1]:
            if sync:
                segment.sync()
            else:
                segment.mark()

    # The daemon's side.

    @rule(
        steps=st.sampled_from(["look read save release", "look read", "look", "read", "save", "save release", "read"])
    )
    def let_daemon_work(self, steps: str) -> None:
        work = {
            "look": self.monitor.list,
            "read": self.reader.read_all,
            "save": self.keeper.save,
            "release": self.monitor.release_due,
        }
        for step in steps.split():
            self.run(work[step]())

    @precondition(lambda self: self.sink.held)
    @rule(places=st.lists(st.integers(min_value=0, max_value=100), min_size=1, max_size=8))
    def acknowledge(self, places: list[int]) -> None:
        async def settle() -> None:
            for place in places:
                if self.sink.held:
                    self.sink.acknowledge(place)

        self.run(settle())

    @rule()
    def kill_daemon(self) -> None:
        for segment in self.tail._segments:
            segment.close()
        acknowledged = self.sink.acknowledged
        self.start_daemon()
        self.sink.acknowledged = acknowledged

    # Invariants.

    def visible(self) -> dict[str, tuple[SegmentWriter, int]]:
        """Return the keys before the last marker, which Cassandra would replay."""
        return {key: (segment, end) for key, (segment, end) in self.written.items() if end <= segment.marker}

    @invariant()
    def the_checkpoint_is_behind_nothing_unacknowledged(self) -> None:
        segment_id, offset = self.store.saved.get("commitlog", (0, 0))
        for key, (segment, end) in self.visible().items():
            if segment.id == segment_id and end <= offset:
                assert key in self.sink.acknowledged

    def is_gone(self, segment: SegmentWriter) -> bool:
        """Return whether the daemon cannot read the segment any more."""
        return not segment.link.exists()

    def is_remembered(self, segment: SegmentWriter, end: int) -> bool:
        """Return whether the store counts the entry that ends here as done; a finished segment is done as a whole."""
        if segment.id in self.store.ends:
            assert end <= self.store.ends[segment.id]
        return segment.id in self.store.ends

    @invariant()
    def nothing_is_remembered_or_removed_early(self) -> None:
        gone = {segment.id for segment in self.node.segments if self.is_gone(segment)}
        for key, (segment, end) in self.visible().items():
            if self.is_remembered(segment, end) or segment.id in gone:
                assert key in self.sink.acknowledged, f"{key} was lost with {segment.name}"

    @invariant()
    def there_is_never_a_gap_but_perhaps_one_that_cassandra_makes(self) -> None:
        """Segments without CDC data, created and deleted while the daemon is down, may leave a hole between others."""
        causes = {(request.detail["cause"], request.detail["certain"]) for request in self.requested.requests}
        assert causes <= {("hole", False)}
        assert self.store.letters == []

    def teardown(self) -> None:
        """Run until both sides are idle: every change was handed over, and finished segments are gone."""
        try:
            for segment in self.closing():
                segment.close()
            self.write([True], "sync")
            for _ in range(6):
                self.let_daemon_work("look read")
                while self.sink.held:
                    self.acknowledge([0])
                self.let_daemon_work("save release")
            assert set(self.visible()) <= self.sink.acknowledged
            left = [segment for segment in self.node.segments[:-2] if segment.link.exists()]
            assert not [segment.name for segment in left if segment.holds_cdc or not segment.path.exists()]
            self.there_is_never_a_gap_but_perhaps_one_that_cassandra_makes()
        finally:
            for tracked in self.tail._segments:
                tracked.close()
            self.runner.close()
            self.directory.cleanup()


class MovedInterleavings(Interleavings):
    """The same with Cassandra 3.11, which moves segments. The store also knows how far resting ones were read."""

    make_segment = MovedSegmentWriter

    @property
    def commitlog(self) -> Path | None:
        return self.node.storage

    def is_gone(self, segment: SegmentWriter) -> bool:
        return not segment.link.exists() and not segment.path.exists()

    def is_remembered(self, segment: SegmentWriter, end: int) -> bool:
        return end <= self.store.ends.get(segment.id, 0)

    @invariant()
    def there_is_never_a_gap(self) -> None:
        assert not self.requested.requests

    @invariant()
    def nothing_is_deleted_in_the_commit_log_folder(self) -> None:
        """A segment in use, and an old one with CDC data, is in one of the folders."""
        assert all(segment.path.exists() for segment in self.node.segments[-2:])


TURNS = settings(max_examples=50, stateful_step_count=30, deadline=None)
Interleavings.TestCase.settings = TURNS
MovedInterleavings.TestCase.settings = TURNS
TestInterleavings = Interleavings.TestCase
TestMovedInterleavings = MovedInterleavings.TestCase
