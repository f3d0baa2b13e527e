"""Servers two of whose aliases take nothing while they are blocked, and a pipeline before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cdc_daemon.model.document_operation import DocumentOutcome, Operation, Outcome, Result, RowBuilder
from cdc_daemon.model.errors import ElasticsearchRefusedError, Trouble
from cdc_daemon.model.reading import Reading, Row, RowState
from cdc_daemon.model.signal import Clustering, Key, Scope, Signal, TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.search.alias_troubles import AliasTrouble
from cdc_daemon.search.failure import Failure
from tests.simulation.parts import unreadable_of
from tests.unit.pipeline.servers import Servers, processor_of

USER, ORDER, BOTH = TableName("shop", "user"), TableName("shop", "order"), TableName("shop", "both")
ALIASES: Mapping[TableName, Sequence[str]] = {USER: ["users"], ORDER: ["orders"], BOTH: ["blocked", "open"]}
FAILURE = Failure(403, "cluster_block_exception", "index [x-1] blocked by: [FORBIDDEN/8/index write (api)];")


class BlockedAliases(Servers):
    """Rows that are all there. Those `blocked` of the aliases take nothing, and cannot be searched if `closed`."""

    def __init__(self, *blocked: str) -> None:
        self.blocked = set(blocked)
        self.closed = False
        self.reads: list[Key] = []
        self.written: list[tuple[str, str]] = []
        self.changed: Callable[[], None] = lambda: None

    @property
    def troubled(self) -> bool:
        return bool(self.blocked)

    def trouble(self, alias: str) -> AliasTrouble | None:
        return AliasTrouble(alias, FAILURE, 0.0) if alias in self.blocked else None

    def live_index(self, alias: str) -> str | None:
        return f"{alias}-000001"

    def repair(self) -> None:
        self.blocked.clear()
        self.changed()

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        assert table in ALIASES
        assert confirm in {True, False}
        self.reads.extend(keys)
        await asyncio.sleep(0)
        return Reading(1, 0.0, ("p",), [RowState((str(table),), 10)] * len(keys))

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        assert table in ALIASES
        assert partition_key

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        assert columns == ("p",)

        def build(key: Key, _row: Row | None, version: int, read_at: float) -> Sequence[Operation]:
            identity = b":".join((key.partition_key, *(part or b"" for part in key.clustering or ()))).decode()
            return [Operation(alias, identity, version, b"{}", read_at) for alias in ALIASES[table]]

        return build

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        await asyncio.sleep(0)
        results = []
        for operation in operations:
            if operation.alias in self.blocked:
                results.append(Result(Outcome.REREAD, FAILURE.error_type, FAILURE.reason, status=403))
            else:
                self.written.append((operation.alias, operation.id))
                results.append(Result(Outcome.INDEXED))
        return results

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        assert partition_key
        await asyncio.sleep(0)
        yield [(b"1",), (b"2",)]
        yield [(b"3",)]
        if self.closed and (alias := next((each for each in ALIASES[table] if each in self.blocked), None)):
            raise ElasticsearchRefusedError("closed", alias=alias)


class Watching:
    """A watch that keeps the calls that it receives."""

    def __init__(self) -> None:
        self.closed = False
        self.done: list[Key] = []
        self.refusals: list[tuple[Key, Mapping[str, Trouble], Sequence[DocumentOutcome]]] = []

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        assert documents or key.clustering is None
        self.done.append(key)

    def delayed(self, key: Key, trouble: Trouble) -> None:
        raise AssertionError((key, trouble))

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        self.refusals.append((key, troubles, documents))


def row(table: TableName, name: str, written: int = 1) -> Signal:
    return Signal(table, name.encode(), Scope.ROW, (), written=written)


def partition(table: TableName, name: str) -> Signal:
    return Signal(table, name.encode(), Scope.PARTITION, removed=1)


@asynccontextmanager
async def working(
    servers: BlockedAliases, coalescer: Coalescer, *, router: Router | None = None
) -> AsyncIterator[Pipeline]:
    """Give a pipeline before the servers for the time of a block."""
    troubled = Troubled(servers, ALIASES)
    servers.changed = coalescer.unpark
    parts: dict[str, Any] = {} if router is None else {"router": router}
    pipeline = Pipeline(
        coalescer=coalescer,
        rows=processor_of(servers, coalescer, observer=AnyCounts(), troubled=troubled, **parts),
        expansion=Expansion(
            coalescer=coalescer,
            reader=servers,  # type: ignore[arg-type]
            finder=servers,
            second_read_pause=0.0,
            **parts,
        ),
        unreadable=unreadable_of(coalescer),
        writer=servers,
        troubled=troubled,
    )
    work = asyncio.create_task(pipeline.run())
    try:
        async with asyncio.timeout(30):
            yield pipeline
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class AnyCounts:
    """An observer that keeps nothing."""

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        assert alias in ALIASES[table]
        assert outcome == "indexed"

    def shown(self, table: TableName, oldest: int) -> None:
        pass

    def set_aside(self, reasons: Sequence[str]) -> None:
        raise AssertionError(reasons)

    def second_reads(self, count: int) -> None:
        pass

    def retried(self, reason: str, count: int) -> None:
        pass


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.001)
