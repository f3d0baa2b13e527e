"""Aliases get into trouble and out of it, beside a spool: other documents follow, and in the end all are equal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from cdc_daemon.model.document_operation import Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.reading import Reading, Row
from cdc_daemon.model.receipt import AcknowledgementLine
from cdc_daemon.model.signal import Clustering, Key, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.alias_troubles import AliasTrouble
from cdc_daemon.search.failure import Failure
from cdc_daemon.sources.spool.spooler import CdcSpace, Spooler
from cdc_daemon.store.spool import SpooledKey, SpooledRow
from tests.simulation.changes import CHANGES, Change, effect_of, signal_of
from tests.simulation.parts import row_processor_of, unreadable_of
from tests.simulation.servers import VISIBLE_WITHIN, Cassandra, Index, Reader, body, document_id, projection
from tests.simulation.virtual_time import virtual_time

T = TypeVar("T")

ONE, TWO, BOTH = TableName("keyspace", "one"), TableName("keyspace", "two"), TableName("keyspace", "both")
ALIASES = {ONE: ["one"], TWO: ["two"], BOTH: ["left", "right"]}
FAILURE = Failure(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)];")

FOLLOWED_WITHIN = 1800.0
"""Virtual seconds within which documents of aliases that take writes follow, and all is acknowledged: servers that fail
at every third request take their time."""


@dataclass
class Indices:
    """An index for each alias. Those blocked take nothing, and are not searched either where they are `closed`."""

    indices: dict[str, Index]
    blocked: set[str] = field(default_factory=set)
    closed: bool = False
    changed: Callable[[], None] = lambda: None

    @property
    def troubled(self) -> bool:
        return bool(self.blocked)

    def trouble(self, alias: str) -> AliasTrouble | None:
        return AliasTrouble(alias, FAILURE, 0.0) if alias in self.blocked else None

    def live_index(self, alias: str) -> str | None:
        assert alias in self.indices
        return None

    def turn(self, alias: str) -> None:
        self.blocked ^= {alias}
        if alias not in self.blocked:
            # Documents from before must not be sent: a closed index forgets deletions.
            self.indices[alias].deletions.clear()
            self.indices[alias].since = asyncio.get_running_loop().time()
        self.changed()

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        results: list[Result] = []
        for operation in operations:
            if operation.alias not in self.blocked:
                results += await self.indices[operation.alias].write([operation])
            else:
                results.append(Result(Outcome.REREAD, FAILURE.error_type, FAILURE.reason, status=403))
        return results

    async def wait_available(self) -> None:
        await asyncio.sleep(0)

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        for alias in ALIASES[table]:
            if not (self.closed and alias in self.blocked):
                async for page in self.indices[alias].find(table, partition_key):
                    yield page
        for alias in ALIASES[table]:
            if self.closed and alias in self.blocked:
                raise ElasticsearchRefusedError("closed", alias=alias)


@dataclass
class Tables:
    """Reads each table from a Cassandra of its own."""

    readers: dict[TableName, Reader]

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        return await self.readers[table].read(table, keys, confirm=confirm)

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        await self.readers[table].confirm_partition(table, partition_key)

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        return self.readers[table].clusterings(table, partition_key)


class Documents:
    """One document for each row and alias."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns

        def build(key: Key, row: Row | None, version: int, read_at: float) -> Sequence[Operation]:
            identity = document_id(key.partition_key, key.clustering or ())
            source = None if row is None else body(row)
            return [Operation(alias, identity, version, source, read_at) for alias in ALIASES[table]]

        return build


class MemorySpool:
    """The spool in memory: it outlives a pipeline."""

    def __init__(self) -> None:
        self.rows: dict[Key, SpooledRow] = {}
        self._next = 0

    def put(self, keys: Iterable[SpooledKey]) -> int:
        new = 0
        for spooled in keys:
            kept = self.rows.get(spooled.key)
            if kept is None:
                new += 1
                self._next += 1
                self.rows[spooled.key] = SpooledRow(self._next, 0, spooled)
                continue
            before = kept.spooled
            joined = SpooledKey(
                spooled.key,
                max(before.written, spooled.written),
                max(before.removed, spooled.removed),
                max(before.suspected, spooled.suspected),
                (),
                before.refresh or spooled.refresh,
                before.prefixes | spooled.prefixes,
            )
            self.rows[spooled.key] = SpooledRow(kept.id, kept.generation + 1, joined)
        return new

    def oldest(self, limit: int, *, after: int = 0, excluding: Collection[TableName] = ()) -> Sequence[SpooledRow]:
        found = sorted(self.rows.values(), key=lambda row: row.id)
        return [row for row in found if row.id > after and row.spooled.key.table not in excluding][:limit]

    def remove(self, rows: Iterable[SpooledRow]) -> None:
        for row in rows:
            kept = self.rows.get(row.spooled.key)
            if kept is not None and (kept.id, kept.generation) == (row.id, row.generation):
                del self.rows[row.spooled.key]

    def __len__(self) -> int:
        return len(self.rows)


class AnyCounts:
    """An observer that keeps nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_arguments: name


class World:
    """Servers and a spool, and a pipeline in front of them that can be stopped and restarted."""

    def __init__(self, chance: random.Random, failures: float, batch: int) -> None:
        loop = asyncio.get_running_loop()
        self.clock = HybridClock(now=lambda: 1_000_000_000 + int(loop.time() * 1e6))
        self.chance = chance
        self.batch = batch
        self.cassandra = {table: Cassandra() for table in ALIASES}
        readers = {table: Reader(each, self.clock, chance, failures) for table, each in self.cassandra.items()}
        self.tables = Tables(readers)
        names = [alias for several in ALIASES.values() for alias in several]
        self.indices = Indices({alias: Index(chance, failures) for alias in names})
        self.spool = MemorySpool()
        self.acknowledged = 0
        self.begin()

    def begin(self) -> None:
        self.line: AcknowledgementLine[int] = AcknowledgementLine(self.acknowledged, limit=5)
        coalescer = self.coalescer = Coalescer(limit=6)
        troubled = Troubled(self.indices, ALIASES)
        self.indices.changed = coalescer.unpark
        expansion = Expansion(coalescer=coalescer, reader=self.tables, finder=self.indices)
        self.pipeline = Pipeline(
            coalescer=coalescer,
            rows=row_processor_of(
                coalescer,
                clock=self.clock,
                reader=self.tables,
                builder=Documents(),
                writer=self.indices,
                observer=AnyCounts(),
                troubled=troubled,
            ),
            expansion=expansion,
            unreadable=unreadable_of(coalescer),
            writer=self.indices,
            troubled=troubled,
            workers=3,
            batch=self.batch,
        )
        self.spooler = Spooler(
            self.spool,  # type: ignore[arg-type]
            coalescer=coalescer,
            gate=Gate(coalescer),
            space=CdcSpace(limit=0, segment_size=1),
            ready=lambda: True,
            observer=AnyCounts(),
            troubled=troubled,
            patience=self.chance.choice([0.0, 2.0]),
        )
        self.work = [asyncio.create_task(self.pipeline.run()), asyncio.create_task(self.spooler.run())]

    async def end(self) -> None:
        """End the pipeline as a crash does: what is in memory is gone, the checkpoint and the spool stay."""
        self.acknowledged = self.line.acknowledged
        for task in self.work:
            task.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)

    async def submit(self, number: int, signal: Signal) -> None:
        receipt = await self.line.open(number)
        await self.coalescer.submit([signal], receipt)
        receipt.release()

    def differing(self) -> list[str]:
        return [
            alias
            for table, several in ALIASES.items()
            for alias in several
            if alias not in self.indices.blocked
            and {identity: document for identity, (_, document) in self.indices.indices[alias].documents.items()}
            != projection(self.cassandra[table])
        ]


@dataclass(frozen=True)
class Step:
    change: Change
    table: TableName
    turned: str | None
    restart: bool


STEPS = st.builds(
    Step,
    change=CHANGES.filter(lambda change: not change.kind.startswith(("sync", "truncate", "backfill"))),
    table=st.sampled_from(list(ALIASES)),
    turned=st.sampled_from([None, None, None, *(alias for several in ALIASES.values() for alias in several)]),
    restart=st.sampled_from([False] * 9 + [True]),
)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(FOLLOWED_WITHIN):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.1)


async def simulate(steps: Sequence[Step], seed: int, failures: float, batch: int, *, closed: bool) -> None:
    loop = asyncio.get_running_loop()
    world = World(random.Random(seed), failures, batch)
    world.indices.closed = closed
    visible = 0.0
    said: dict[int, Signal] = {}
    for number, step in enumerate(steps, start=1):
        if step.turned is not None:
            world.indices.turn(step.turned)
        time = world.clock.wall() + number
        visible = max(visible, loop.time() + world.chance.random() * VISIBLE_WITHIN)
        loop.call_at(visible, effect_of(step.change, time, world.cassandra[step.table]))
        said[number] = signal_of(step.change, time)._replace(table=step.table)
        async with asyncio.timeout(FOLLOWED_WITHIN):
            await world.submit(number, said[number])
        if step.restart:
            await world.end()
            world.begin()
            for again in range(world.acknowledged + 1, number + 1):
                await world.submit(again, said[again])
        await asyncio.sleep(step.change.pause)
    # Whatever is blocked now: all is acknowledged in time, and the other documents are as their rows.
    async with asyncio.timeout(FOLLOWED_WITHIN):
        await world.line.wait_empty()
    await until(lambda: not world.differing())
    for alias in list(world.indices.blocked):
        world.indices.turn(alias)
    await until(lambda: not len(world.spool) and not len(world.coalescer))
    await world.end()
    await asyncio.sleep(1)
    assert world.differing() == []


@pytest.fixture(autouse=True)
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(do: Callable[..., T], *arguments: Any, **named: Any) -> T:
        await asyncio.sleep(0)
        return do(*arguments, **named)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(STEPS, max_size=25),
    seed=st.integers(0, 2**32),
    failures=st.sampled_from([0.0, 0.0, 0.1, 0.3]),
    batch=st.sampled_from([1, 3, 100]),
    closed=st.booleans(),
)
def test_the_others_follow_and_in_the_end_all_are_equal(
    steps: list[Step], seed: int, failures: float, batch: int, closed: bool
) -> None:
    note(f"seed {seed}")
    with virtual_time() as run:
        run(simulate(steps, seed, failures, batch, closed=closed))
