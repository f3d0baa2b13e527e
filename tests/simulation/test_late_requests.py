"""A bulk request without an answer reaches Elasticsearch late, when it has forgotten that a document was deleted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.sources.late_requests.recorder import SuspectRecorder, Times
from cdc_daemon.sources.late_requests.watch import SuspectWatch
from cdc_daemon.store.database import Database
from cdc_daemon.store.suspects import Suspect, SuspectStore
from tests.simulation.changes import CHANGES, TABLE, Change, effect_of, is_logged, signal_of
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra, Documents, Index, Reader, projection
from tests.simulation.virtual_time import virtual_time

REMEMBERED = 5.0
"""Seconds after which the index forgets a deletion."""

LATEST = 120.0
"""Seconds after which a request that was lost does not arrive any more."""

ARRIVALS = (0.0, 1.0, REMEMBERED + 2, LATEST / 2, LATEST - 1)
TIMES = Times(first=8_000_000, last=int(LATEST * 1e6), remembered=int(REMEMBERED * 1e6))


async def at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run a blocking call without a thread, which virtual time would not wait for."""
    return work(*arguments)


@dataclass
class LateIndex(Index):
    """Gives no answer to some requests, applies these up to `LATEST` seconds later, and forgets deletions by time."""

    lateness: float = 0.0
    arrivals: Sequence[float] = ARRIVALS
    writes: int = 0

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        self.writes += 1
        if self.chance.random() >= self.lateness:
            try:
                return await super().write(operations)
            except asyncio.CancelledError:
                self._apply_late(operations)
                raise
        self._apply_late(operations)
        await asyncio.sleep(0.01)
        return [Result(Outcome.REREAD, "connection_timeout", status=0, unanswered=True)] * len(operations)

    async def versions(self, _alias: str, suspects: Sequence[Suspect]) -> list[int | None]:
        await asyncio.sleep(self.chance.random() * 0.01)
        return [self.documents.get(suspect.document, (None,))[0] for suspect in suspects]

    def _apply_late(self, operations: Sequence[Operation]) -> None:
        def arrive() -> None:
            for operation in operations:
                self._apply(operation)

        asyncio.get_running_loop().call_later(self.chance.choice(self.arrivals), arrive)

    def _apply(self, operation: Operation) -> Result:
        result = super()._apply(operation)
        if result.outcome is Outcome.DELETED:
            asyncio.get_running_loop().call_later(REMEMBERED, self._forget, operation.id, operation.version)
        return result

    def _forget(self, identity: str, version: int) -> None:
        if self.deletions.get(identity) == version:
            del self.deletions[identity]


class World:
    """Two servers that stay, and daemons that are killed and started again."""

    def __init__(self, chance: random.Random, lateness: float) -> None:
        self.chance = chance
        self.cassandra = Cassandra()
        self.index = LateIndex(chance, 0.0, lateness=lateness)
        self.store = SuspectStore(Database(Path(":memory:")))
        self.bound = 0
        self.unacknowledged: dict[int, tuple[Change, int]] = {}
        self.returned: list[int] = []
        self._tasks: list[asyncio.Task[None]] = []

    def wall(self) -> int:
        return 1_000_000_000_000 + int(asyncio.get_running_loop().time() * 1e6)

    async def start(self) -> None:
        recorder = SuspectRecorder(self.store, TIMES, bound=self.bound, now=self.wall, blocking=at_once)
        clock = HybridClock(start=self.bound, now=self.wall, reserve=self._reserve)
        reader = Reader(self.cassandra, clock, self.chance, 0.0)
        coalescer = self.coalescer = Coalescer()
        processor = row_processor_of(
            coalescer,
            clock=clock,
            reader=reader,
            builder=Documents(),
            writer=self.index,
            observer=Counts(),
            suspects=recorder,
        )
        expansion = Expansion(coalescer=coalescer, reader=reader, finder=self.index)
        self.pipeline = pipeline_of(coalescer, processor, expansion, self.index, batch=10)
        watch = SuspectWatch(
            self.store,
            self.index.versions,
            TIMES,
            sink=coalescer,
            gate=Gate(coalescer),
            ready=lambda: True,
            tables={TABLE},
            reconcile=_no_comparison,
            returned=self.returned.append,
            now=self.wall,
            blocking=at_once,
        )
        self._tasks = [asyncio.create_task(self.pipeline.run()), asyncio.create_task(_come_round(watch))]
        for number in list(self.unacknowledged):
            await self.submit(number)

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def submit(self, number: int) -> None:
        def acknowledge() -> None:
            del self.unacknowledged[number]

        receipt = Receipt(acknowledge)
        await self.coalescer.submit([signal_of(*self.unacknowledged[number])], receipt)
        receipt.release()

    def _reserve(self, bound: int) -> None:
        self.bound = bound


async def _come_round(watch: SuspectWatch) -> None:
    while True:
        await watch.turn()
        await asyncio.sleep(1.0)


async def _no_comparison(table: TableName) -> None:
    raise AssertionError(table)


async def simulate(changes: Sequence[Change], seed: int, lateness: float, crashes: float) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    world = World(chance, lateness)
    await world.start()
    visible = 0.0
    for number, change in enumerate(changes, start=1):
        time = world.wall() + number
        visible = max(visible, loop.time() + chance.random() * VISIBLE_WITHIN)
        loop.call_at(visible, effect_of(change, time, world.cassandra))
        world.unacknowledged[number] = (change, time)
        await world.submit(number)
        await asyncio.sleep(change.pause)
        if chance.random() < crashes:
            await world.kill()
            await world.start()
    while world.unacknowledged:  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0.1)
    await asyncio.sleep(3 * LATEST)
    await world.kill()
    written = {identity: document for identity, (_, document) in world.index.documents.items()}
    assert written == projection(world.cassandra)
    assert world.store.count == 0
    if not lateness and not crashes:
        assert world.returned == []


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.builds(
            replace, CHANGES.filter(is_logged), pause=st.sampled_from([0.0, 0.005, 0.01, 1.0, REMEMBERED + 1, 30.0])
        ),
        max_size=15,
    ),
    seed=st.integers(0, 2**32),
    lateness=st.sampled_from([0.0, 0.2, 0.6]),
    crashes=st.sampled_from([0.0, 0.0, 0.3]),
)
def test_what_arrives_late_brings_no_document_back(
    changes: list[Change], seed: int, lateness: float, crashes: float
) -> None:
    note(f"seed {seed}")
    with virtual_time() as run:
        run(simulate(changes, seed, lateness, crashes))


REMOVED_LATER = [
    Change("write", b"a", (b"1", b"x"), pause=0.02),
    Change("remove row", b"a", (b"1", b"x"), pause=REMEMBERED + 1),
]


async def remove_after(killed_in_flight: bool, arrival: float) -> World:
    """Lose the answer to a row's write, remove the row, and let the write arrive when that is forgotten."""
    world = World(random.Random(0), lateness=0.0 if killed_in_flight else 1.0)
    world.index.arrivals = (arrival,)
    await world.start()
    for number, change in enumerate(REMOVED_LATER, start=1):
        world.unacknowledged[number] = (change, time := world.wall())
        effect_of(change, time, world.cassandra)()
        await world.submit(number)
        while not world.index.writes:  # noqa: ASYNC110 -- nor is there an event for this
            await asyncio.sleep(0.001)
        if killed_in_flight and number == 1:
            await world.kill()
            await world.start()
        world.index.lateness = 0.0
        while world.unacknowledged:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.sleep(change.pause)
    assert world.index.documents == {}
    return world


@pytest.mark.parametrize("killed_in_flight", [False, True])
@pytest.mark.parametrize("arrival", [REMEMBERED + 3, LATEST / 2, LATEST - 1])
def test_a_document_that_a_lost_request_brings_back_is_removed_again(arrival: float, *, killed_in_flight: bool) -> None:
    async def play() -> None:
        world = await remove_after(killed_in_flight, arrival)
        await asyncio.sleep(arrival - asyncio.get_running_loop().time() + 0.5)
        assert len(world.index.documents) == 1, "the lost request has not brought it back"
        await asyncio.sleep(LATEST)
        assert world.index.documents == {}
        assert world.returned == [1]
        assert world.store.count == 0
        await world.kill()

    with virtual_time() as run:
        run(play())


def test_a_kill_later_does_not_forget_a_suspect() -> None:
    async def play() -> None:
        world = await remove_after(False, LATEST / 2)
        await world.kill()
        await world.start()
        await asyncio.sleep(LATEST + TIMES.first / 1e6)
        assert world.index.documents == {}
        assert world.returned == [1]
        await world.kill()

    with virtual_time() as run:
        run(play())
