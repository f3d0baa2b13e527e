"""Documents that show a row they point to: whatever happens to either table, in the end they show it as it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.dependents.refresher import DependentsRefresher
from cdc_daemon.pipeline.clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.expansion import Expansion
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.receipt import AcknowledgementLine
from cdc_daemon.pipeline.routing import Followed, Router
from cdc_daemon.pipeline.settlement import Settlement
from cdc_daemon.pipeline.signal import TableName
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
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra
from tests.simulation.test_pipeline import CHANGES, Change, Counts, effect_of, no_dead_letters, signal_of
from tests.simulation.virtual_time import virtual_time


class BaseCounts(Counts):
    def __init__(self) -> None:
        super().__init__()
        self.followed = 0

    def shown(self, table: TableName, oldest: int) -> None:
        assert table == BASE
        assert oldest >= 0

    def refreshed(self, table: TableName, count: int) -> None:
        assert table == OTHER
        self.followed += count


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


async def simulate(changes: Sequence[TableChange], seed: int, failures: float, batch: int, crashes: float) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    clock = HybridClock(now=lambda: 1_000_000_000 + int(loop.time() * 1e6))
    tables = {BASE: Cassandra(), OTHER: Cassandra()}
    index, queue, counts = BaseIndex(chance, failures), MemoryQueue(), BaseCounts()
    reader = LookupReader(tables[BASE], tables[OTHER], clock, chance, failures)
    coalescer = Coalescer(limit=4)
    router = Router(coalescer, {}, mapped=[BASE], followed=Followed(frozenset([OTHER]), queue.add, clock))
    settlement = Settlement(
        coalescer=coalescer,
        clock=clock,
        reader=reader,
        builder=BaseDocuments(),
        writer=index,
        set_aside=no_dead_letters,
        observer=counts,
        router=router,
        second_read_pause=0.05,
    )
    expansion = Expansion(coalescer=coalescer, reader=reader, siblings=index, router=router, second_read_pause=0.05)
    pipeline = Pipeline(
        coalescer=coalescer, settlement=settlement, expansion=expansion, writer=index, workers=3, batch=batch
    )

    def refresh() -> asyncio.Task[None]:
        refresher = DependentsRefresher(
            queue,
            {OTHER: [Finder(index)]},
            flights=coalescer,
            sink=pipeline,
            gate=Gate(pipeline),
            observer=counts,
            rate=1000,
            margin=0,
            settle_others=at_once,
        )
        return asyncio.create_task(come_round(refresher))

    running, refreshing = asyncio.create_task(pipeline.run()), refresh()
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    visible = 0.0
    for number, each in enumerate(changes, start=1):
        time = clock.wall() + number
        visible = max(visible, loop.time() + chance.random() * VISIBLE_WITHIN)
        loop.call_at(visible, effect_of(each.change, time, tables[each.table]))
        receipt = await line.open(number)
        await pipeline.submit([signal_of(each.change, time)._replace(table=each.table)], receipt)
        receipt.release()
        await asyncio.sleep(each.change.pause)
        if chance.random() < crashes:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
            refreshing = refresh()
    await asyncio.wait_for(line.wait_empty(), timeout=3600)
    while queue.kept or pipeline.pending:  # noqa: ASYNC110 -- what is waited for has no event of its own
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
