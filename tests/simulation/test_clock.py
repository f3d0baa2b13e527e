"""The pipeline of a daemon whose clock is ahead for a while: whatever it wrote meanwhile, the end is equal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.races import PREFETCH_SECONDS
from cdc_daemon.search.bulk_results import BulkResults, BulkVerdict, Clocks
from cdc_daemon.search.failure import Failure
from cdc_daemon.sources.clock_watch import CONFIRMATIONS, INTERVAL, ClockWatch
from tests.simulation.changes import TABLE, Change, effect_of, signal_of
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra, Documents, Index, Reader, projection
from tests.simulation.virtual_time import virtual_time

SETTLED = INTERVAL * (CONFIRMATIONS + 1)
"""Seconds after which versions have stepped back."""

KEYS = [(b"a", b"1"), (b"a", b"2"), (b"b", b"1")]


class StrictIndex(Index):
    """Judges conflicts as the bulk writer does, and may take long to answer."""

    clock: HybridClock
    slow: float = 0.0

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        if self.chance.random() < self.slow:
            await asyncio.sleep(self.chance.choice([3.0, 6.0]))
        self.since = max(self.since, self.clock.stepped_back_at)
        return await super().write(operations)

    def _apply(self, operation: Operation) -> Result:
        result = super()._apply(operation)
        if result.seen_version is None:
            return result
        known = BulkResults([operation])
        clocks = Clocks(self.clock.wall(), self.clock.allowed, self.clock.untrusted)
        failure = Failure(409, "version_conflict_engine_exception", "")
        known.record_conflict(0, failure, result.seen_version, clocks, BulkVerdict())
        return known.results[0]


async def simulate(seed: int, ahead: int, slow: float) -> int:
    """Play changes before and after the clock is set right; return how far the versions are ahead at the end."""
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    skew = [ahead]
    clock = HybridClock(now=lambda: 10**15 + int((loop.time() + skew[0]) * 1e6), monotonic=loop.time)
    cassandra = Cassandra()
    index = StrictIndex(chance, 0.0)
    index.clock, index.slow = clock, slow
    reader = Reader(cassandra, clock, chance, 0.0)
    coalescer = Coalescer(limit=4)
    processor = row_processor_of(
        coalescer, clock=clock, reader=reader, builder=Documents(), writer=index, observer=Counts()
    )
    pipeline = pipeline_of(
        coalescer, processor, Expansion(coalescer=coalescer, reader=reader, finder=index), index, batch=2
    )

    async def compare() -> Sequence[float]:
        return [float(skew[0])]

    watch = ClockWatch(clock, measures=[compare], keep=lambda _bound, _untrusted: None)

    async def look() -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await watch.check()

    async def copy() -> None:
        """A page of a backfill: read now, and handed over later."""
        keys, reading = await reader.scan(TABLE)
        await asyncio.sleep(chance.choice([0.2, 0.9 * PREFETCH_SECONDS]))
        settled = asyncio.Event()
        receipt = Receipt(settled.set)
        await coalescer.submit_rows(keys, reading, receipt)
        receipt.release()
        await settled.wait()

    running = [asyncio.create_task(pipeline.run()), asyncio.create_task(look())]
    copying: list[asyncio.Task[None]] = []
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    number, visible = 0, 0.0

    async def rest() -> None:
        """Wait until everything is written, then compare."""
        await asyncio.wait_for(line.wait_empty(), timeout=3600)
        await asyncio.gather(*copying)
        assert {identity: body for identity, (_, body) in index.documents.items()} == projection(cassandra)

    async def change_until(end: float, pause: float, *, copies: float = 0.5, rests: bool = False) -> None:
        nonlocal number, visible
        while loop.time() < end:
            number += 1
            partition, clustering = chance.choice(KEYS)
            change = Change(chance.choice(["write", "write", "remove row"]), partition, (clustering, b"x"), 0.0)
            time = number  # the writers have clocks of their own
            visible = max(visible, loop.time() + chance.random() * VISIBLE_WITHIN)
            loop.call_at(visible, effect_of(change, time, cassandra))
            receipt = await line.open(number)
            await coalescer.submit([signal_of(change, time)], receipt)
            receipt.release()
            if rests:
                await rest()
            elif chance.random() < copies:
                copying.append(asyncio.create_task(copy()))
            await asyncio.sleep(chance.random() * pause)

    await change_until(5.0, 1.0)
    skew[0] = 0
    corrected = loop.time()
    while clock.stepped_back_at < corrected and loop.time() < corrected + SETTLED:
        await change_until(loop.time() + 1.0, 1.0)
    lead = clock.lead()
    # Pages that were read before the step back are still under way.
    await change_until(loop.time() + 0.5, 0.3, copies=0.0)
    await rest()
    # The time at which the clock reaches the versions that it has issued ahead.
    await asyncio.sleep(max(0.0, ahead - 8 - loop.time()))
    await change_until(loop.time() + 20, 0.7, rests=True)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return lead


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), ahead=st.sampled_from([60, 3600]), slow=st.sampled_from([0.0, 0.4]))
def test_the_index_ends_equal_though_the_clock_was_ahead(seed: int, ahead: int, slow: float) -> None:
    note(f"seed {seed}")
    with virtual_time() as run:
        lead = run(simulate(seed, ahead, slow))
    assert lead < 5_000_000
