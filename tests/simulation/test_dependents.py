"""Documents that show a row they point to: whatever happens to either table, in the end they show it as it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.routing import Followed, Router
from cdc_daemon.sources.dependents.refresher import AT_ONCE, INTERVAL, LONGEST_PAUSE, DependentsRefresher
from cdc_daemon.store.dependents import ChangedRow
from tests.simulation.changes import CHANGES, Change, effect_of, signal_of
from tests.simulation.looked_up import (
    BASE,
    OTHER,
    BaseDocuments,
    BaseIndex,
    Finder,
    LookupReader,
    MemoryQueue,
    projection,
)
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra
from tests.simulation.virtual_time import virtual_time


class BaseCounts(Counts):
    def __init__(self) -> None:
        super().__init__()
        self.followed = 0
        self.broken = 0

    def shown(self, table: TableName, oldest: int) -> None:
        assert table == BASE
        assert oldest >= 0

    def refreshed(self, table: TableName, count: int) -> None:
        assert table == OTHER
        self.followed += count

    def failed(self, table: TableName) -> None:
        assert table == OTHER
        self.broken += 1


@dataclass(frozen=True)
class TableChange:
    table: TableName
    change: Change


TABLE_CHANGES = st.builds(TableChange, st.sampled_from([BASE, OTHER]), CHANGES)


async def come_round(refresher: DependentsRefresher) -> None:
    while True:
        await refresher.turn()
        await asyncio.sleep(0.002)


async def at_once() -> None:
    return


def refresher_of(
    queue: MemoryQueue, finder: Finder | BrokenFinder, counts: BaseCounts, coalescer: Coalescer, sink: BackgroundSink
) -> DependentsRefresher:
    return DependentsRefresher(
        queue,
        {OTHER: [finder]},
        flights=coalescer,
        sink=sink,
        gate=Gate(coalescer),
        observer=counts,
        rate=1000,
        margin=0,
        wait_for_others=at_once,
    )


async def simulate(changes: Sequence[TableChange], seed: int, failures: float, batch: int, crashes: float) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    clock = HybridClock(now=lambda: 1_000_000_000 + int(loop.time() * 1e6))
    tables = {BASE: Cassandra(), OTHER: Cassandra()}
    index, queue, counts = BaseIndex(chance, failures), MemoryQueue(), BaseCounts()
    reader = LookupReader(tables[BASE], tables[OTHER], clock, chance, failures)
    coalescer = Coalescer(limit=4)
    router = Router(coalescer, {}, mapped=[BASE], followed=Followed(frozenset([OTHER]), queue.add, clock))
    processor = row_processor_of(
        coalescer,
        clock=clock,
        reader=reader,
        builder=BaseDocuments(),
        writer=index,
        observer=counts,
        router=router,
        second_read_pause=0.05,
    )
    expansion = Expansion(coalescer=coalescer, reader=reader, finder=index, router=router, second_read_pause=0.05)
    pipeline = pipeline_of(coalescer, processor, expansion, index, batch=batch)

    def refresh() -> asyncio.Task[None]:
        return asyncio.create_task(come_round(refresher_of(queue, Finder(index), counts, coalescer, coalescer)))

    running, refreshing = asyncio.create_task(pipeline.run()), refresh()
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    visible = 0.0
    for number, each in enumerate(changes, start=1):
        time = clock.wall() + number
        visible = max(visible, loop.time() + chance.random() * VISIBLE_WITHIN)
        loop.call_at(visible, effect_of(each.change, time, tables[each.table]))
        receipt = await line.open(number)
        await coalescer.submit([signal_of(each.change, time)._replace(table=each.table)], receipt)
        receipt.release()
        await asyncio.sleep(each.change.pause)
        if chance.random() < crashes:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
            refreshing = refresh()
    await asyncio.wait_for(line.wait_empty(), timeout=3600)
    while queue.kept or len(coalescer):  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0.1)
    written = {identity: document for identity, (_, document) in index.documents.items()}
    for task in (running, refreshing):
        task.cancel()
    await asyncio.gather(running, refreshing, return_exceptions=True)
    await asyncio.sleep(1)
    assert written == projection(tables[BASE], tables[OTHER])


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(TABLE_CHANGES, max_size=25),
    seed=st.integers(0, 2**32),
    failures=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    batch=st.sampled_from([1, 3, 100]),
    crashes=st.sampled_from([0.0, 0.2]),
)
def test_documents_end_as_the_rows_that_they_show(
    changes: list[TableChange], seed: int, failures: float, batch: int, crashes: float
) -> None:
    note(f"seed {seed}, failures {failures}, crashes {crashes}, batches of {batch}: {changes}")
    with virtual_time() as run:
        run(asyncio.wait_for(simulate(changes, seed, failures, batch, crashes), timeout=7200))


class BrokenFinder:
    """A search that always fails, after having taken a second."""

    shown_in = BASE

    def __init__(self) -> None:
        self.searched: list[float] = []

    async def find(self, key: Key, *, read_before: int) -> AsyncIterator[Sequence[Key]]:
        self.searched.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1.0)
        if key.table == OTHER:
            raise ElasticsearchRefusedError(f"a search for {key} before {read_before} that cannot be answered")
        yield ()

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        raise AssertionError(signals, receipt)


async def fail_for(seconds: float, rows: int) -> tuple[BrokenFinder, BaseCounts, int]:
    finder, queue, counts, coalescer = BrokenFinder(), MemoryQueue(), BaseCounts(), Coalescer()
    await queue.add([ChangedRow(Key(OTHER, number.to_bytes(2), ()), 1) for number in range(rows)])
    refresher = refresher_of(queue, finder, counts, coalescer, finder)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                await refresher.turn()
                await asyncio.sleep(INTERVAL)
    return finder, counts, len(queue.kept)


def test_a_row_whose_search_always_fails_is_tried_ever_more_seldom() -> None:
    with virtual_time() as run:
        finder, counts, kept = run(fail_for(600.0, rows=1))
    pauses = [later - earlier for earlier, later in pairwise(finder.searched)]
    assert kept == 1
    assert len(finder.searched) - 1 <= counts.broken <= len(finder.searched) < 60
    assert min(pauses[-9:]) >= LONGEST_PAUSE / 2


def test_a_whole_queue_is_not_run_through_while_every_search_fails() -> None:
    with virtual_time() as run:
        finder, _, kept = run(fail_for(60.0, rows=5000))
    assert kept == 5000
    assert len(finder.searched) < 60 * AT_ONCE
