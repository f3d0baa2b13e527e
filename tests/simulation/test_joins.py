"""Documents that show children: whatever happens to either table, in whatever order, the end is equal to both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.routing import Route, Router
from tests.simulation.changes import CHANGES, Change, effect_of, signal_of
from tests.simulation.joined import CHILD, PARENT, JoinedReader, ParentDocuments, ParentIndex, projection
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra
from tests.simulation.virtual_time import virtual_time

EXACT = Route(PARENT, lambda key: (key,), (0,), (1, 2))
"""A child's key tells its parent's row."""

COARSE = Route(PARENT, lambda key: (key,), (0,), None)
"""A child's key tells its parent's partition."""


class ChildCounts(Counts):
    def shown(self, table: TableName, oldest: int) -> None:
        assert table == PARENT
        assert oldest >= 0


@dataclass(frozen=True)
class JoinedChange:
    table: TableName
    change: Change


CHILD_CHANGES = st.builds(
    lambda change, role: replace(change, clustering=(*change.clustering, role)), CHANGES, st.sampled_from([b"r", b"s"])
)
JOINED_CHANGES = st.one_of(
    CHANGES.map(lambda change: JoinedChange(PARENT, change)),
    CHILD_CHANGES.map(lambda change: JoinedChange(CHILD, change)),
)


async def simulate(changes: Sequence[JoinedChange], route: Route, seed: int, failures: float, batch: int) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    clock = HybridClock(now=lambda: 1_000_000_000 + int(loop.time() * 1e6))
    tables = {PARENT: Cassandra(), CHILD: Cassandra()}
    index = ParentIndex(chance, failures)
    reader = JoinedReader(tables[PARENT], tables[CHILD], clock, chance, failures)
    coalescer = Coalescer(limit=4)
    router = Router(coalescer, {CHILD: [route]}, mapped=[PARENT])
    processor = row_processor_of(
        coalescer,
        clock=clock,
        reader=reader,
        builder=ParentDocuments(),
        writer=index,
        observer=ChildCounts(),
        router=router,
        second_read_pause=0.05,
    )
    expansion = Expansion(coalescer=coalescer, reader=reader, finder=index, router=router, second_read_pause=0.05)
    pipeline = pipeline_of(coalescer, processor, expansion, index, batch=batch)
    running = asyncio.create_task(pipeline.run())
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
    await asyncio.wait_for(line.wait_empty(), timeout=3600)
    # Everything is acknowledged, so everything is shown: nothing may be still to come.
    assert len(coalescer) == 0
    written = {identity: document for identity, (_, document) in index.documents.items()}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(1)
    assert written == projection(tables[PARENT], tables[CHILD])


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(JOINED_CHANGES, max_size=25),
    route=st.sampled_from([EXACT, COARSE]),
    seed=st.integers(0, 2**32),
    failures=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    batch=st.sampled_from([1, 3, 100]),
)
def test_documents_end_equal_to_both_tables(
    changes: list[JoinedChange], route: Route, seed: int, failures: float, batch: int
) -> None:
    note(f"seed {seed}, {route.clustering}, failures {failures}, batches of {batch}: {changes}")
    with virtual_time() as run:
        run(asyncio.wait_for(simulate(changes, route, seed, failures, batch), timeout=7200))
