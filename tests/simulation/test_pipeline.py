"""The whole pipeline against servers in memory: whatever the order, delays and failures, the end is equal."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence

from hypothesis import given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import CassandraUnavailableError, ElasticsearchUnavailableError, Trouble
from cdc_daemon.model.receipt import AcknowledgementLine, Receipt
from cdc_daemon.model.signal import Key, Scope, Signal
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.sources.unlogged_removals.sweep import Sweep
from tests.simulation.changes import CHANGES, TABLE, Change, effect_of, is_logged, signal_of
from tests.simulation.parts import Counts, pipeline_of, row_processor_of
from tests.simulation.servers import (
    VISIBLE_WITHIN,
    Cassandra,
    DocumentedRows,
    Documents,
    Index,
    Reader,
    body,
    document_id,
    projection,
)
from tests.simulation.virtual_time import virtual_time


class Request:
    """Somebody who asks for a row or a partition by name, while everything else goes on."""

    def __init__(self, change: Change, cassandra: Cassandra, index: Index) -> None:
        self._cassandra = cassandra
        self._index = index
        self._row = change.kind == "sync row"
        self._done = asyncio.Event()
        self._shown: dict[str, bytes | None] = {}
        self._seen: list[dict[str, bytes]] = []
        self.spoilt: set[str] = set()
        """Documents that were changed after the request came: the request need not have repaired them."""
        self.closed = False
        scope, clustering = (Scope.ROW, change.clustering) if self._row else (Scope.STATIC, ())
        self.signal = Signal(TABLE, change.partition, scope, clustering)
        self._identity = document_id(change.partition, clustering)

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        if key != Key.of(self.signal):
            return  # a row of the partition asked for
        assert all(document.outcome in {Outcome.INDEXED, Outcome.DELETED} for document in documents)
        self._shown = {identity: body for identity, (_, body) in self._index.documents.items()}
        self._done.set()

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        raise AssertionError((key, troubles, documents))

    def delayed(self, key: Key, trouble: Trouble) -> None:
        assert key.table == TABLE
        assert trouble.service in {"cassandra", "elasticsearch"}

    async def run(self, pipeline: Pipeline) -> None:
        """Ask, and check: what is shown at the end of the request was so in Cassandra since it came."""
        self._look()
        self._cassandra.onlookers.append(self._look)
        pipeline.request([self.signal], self)
        await asyncio.wait_for(self._done.wait(), timeout=3600)
        self._cassandra.onlookers.remove(self._look)
        for identity in {*self._shown, *(each for seen in self._seen for each in seen)} - self.spoilt:
            if identity == self._identity or (not self._row and identity.startswith(self._identity)):
                assert self._shown.get(identity) in [seen.get(identity) for seen in self._seen]

    def _look(self) -> None:
        self._seen.append(projection(self._cassandra))


def tamper(change: Change, index: Index, requests: Sequence[Request]) -> None:
    """Spoil a document and leave its version as it is."""
    identity = document_id(change.partition, change.clustering)
    for request in requests:
        request.spoilt.add(identity)
    if identity in index.documents:
        version, _ = index.documents[identity]
        index.documents[identity] = (version, body((change.partition, change.clustering, "spoilt", None)))


async def simulate(  # noqa: C901 -- a world in one piece
    changes: Sequence[Change], seed: int, failures: float, batch: int, *, old_rows: bool
) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    clock = HybridClock(now=lambda: 1_000_000_000 + int(loop.time() * 1e6))
    cassandra = Cassandra()
    for partition, first, second in itertools.product((b"a", b"b"), (b"1", b"2"), (b"x", b"y")) if old_rows else ():
        cassandra.write(partition, (first, second), "old", 1)  # before there was a daemon: no log tells of it
    index = Index(chance, failures)
    reader = Reader(cassandra, clock, chance, failures)
    coalescer = Coalescer(limit=4)
    processor = row_processor_of(
        coalescer,
        clock=clock,
        reader=reader,
        builder=Documents(),
        writer=index,
        observer=Counts(),
        second_read_pause=0.05,
    )
    expansion = Expansion(coalescer=coalescer, reader=reader, finder=index)
    pipeline = pipeline_of(coalescer, processor, expansion, index, batch=batch)
    running = asyncio.create_task(pipeline.run())
    requests: list[Request] = []
    asking: list[asyncio.Task[None]] = []
    line: AcknowledgementLine[int] = AcknowledgementLine(0)
    visible = 0.0
    counted: list[int] = []
    sweep = Sweep(DocumentedRows(index), coalescer, Gate(coalescer), counted=counted.append, rate=1e9)

    async def truncate() -> None:
        cassandra.truncate()
        while True:
            try:
                await coalescer.wait_landed(TABLE, 60)
                await sweep.run(TABLE, suspected=clock.wall())
            except ElasticsearchUnavailableError:
                await asyncio.sleep(0.1)
            else:
                return

    async def backfill() -> None:
        while True:
            try:
                keys, reading = await reader.scan(TABLE)
            except CassandraUnavailableError:
                continue
            break
        await asyncio.sleep(chance.choice([0.0, 0.02, 0.2, 4.0]))
        settled = asyncio.Event()
        receipt = Receipt(settled.set)
        await coalescer.submit_rows(keys, reading, receipt)
        receipt.release()
        await settled.wait()

    for number, change in enumerate(changes, start=1):
        if change.kind in {"truncate", "backfill"}:
            asking.append(asyncio.create_task(truncate() if change.kind == "truncate" else backfill()))
            await asyncio.sleep(change.pause)
            continue
        if change.kind.startswith("sync"):
            tamper(change, index, requests)
            requests.append(Request(change, cassandra, index))
            asking.append(asyncio.create_task(requests[-1].run(pipeline)))
            await asyncio.sleep(change.pause)
            continue
        time = clock.wall() + number
        # The log is written first; memtables follow in order, a little later.
        visible = max(visible, loop.time() + chance.random() * VISIBLE_WITHIN)
        loop.call_at(visible, effect_of(change, time, cassandra))
        receipt = await line.open(number)
        await coalescer.submit([signal_of(change, time)], receipt)
        receipt.release()
        await asyncio.sleep(change.pause)
    await asyncio.wait_for(line.wait_empty(), timeout=3600)
    await asyncio.gather(*asking)
    if old_rows:
        await backfill()
    assert not any(line.acknowledged < number for number, change in enumerate(changes, 1) if is_logged(change))
    assert len(coalescer) == 0
    flow = coalescer.flow
    assert flow.taken == flow.coalesced + flow.rows + flow.partitions + flow.forgotten
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(1)
    written = {identity: document for identity, (_, document) in index.documents.items()}
    assert written == projection(cassandra)


@settings(max_examples=400, deadline=None)
@given(
    changes=st.lists(CHANGES, max_size=25),
    seed=st.integers(0, 2**32),
    failures=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    batch=st.sampled_from([1, 3, 100]),
    old_rows=st.booleans(),
)
def test_the_index_ends_equal_to_cassandra(
    changes: list[Change], seed: int, failures: float, batch: int, old_rows: bool
) -> None:
    note(f"seed {seed}")
    with virtual_time() as run:
        run(simulate(changes, seed, failures, batch, old_rows=old_rows))
