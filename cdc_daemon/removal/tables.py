"""Tables that are truncated, dropped and created again while the daemon runs, or while it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, Protocol

import structlog

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.errors import CassandraRefusedError, TableDroppedError
from cdc_daemon.pipeline.signal import TableName
from cdc_daemon.removal.cdc_watch import CdcWatch
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_marks import TableMark

log = structlog.get_logger(__name__)

INTERVAL = 2.0
"""Seconds between two looks."""

LANDING = 60.0
"""Seconds that are waited at most for rows that were read before a truncation: no body is sent that is older."""

OTHER_NODES = 60.0
"""Seconds after which a sweep is made again where there are other nodes: `truncate_request_timeout`'s default. Until
then another replica may still have shown what it was about to truncate. It is Cassandra's time, not that of other
daemons, which jobs and dependents wait for."""


class Policy(NamedTuple):
    """What happens to a table's documents: `remove`, `keep` or `rebuild`, and `remove` or `keep`."""

    on_truncate: str
    on_drop: str


class LiveSchema(Protocol):
    """What tables there are."""

    def table(self, name: TableName) -> TableMetadata:
        """Return a table. Raises `CassandraRefusedError` when none is known."""
        ...

    async def look_again(self, name: TableName) -> None:
        """Read the schema anew. Raises `TableDroppedError` when the table is gone for certain."""
        ...


class TruncationRecords(Protocol):
    """When tables were truncated."""

    @property
    def nodes(self) -> int:
        """How many nodes the cluster has."""
        ...

    async def read(self) -> Mapping[bytes, int]:
        """Return the times (ms since epoch) by table id."""
        ...


class Marks(Protocol):
    """Durable marks by table; methods block."""

    def get(self, table: TableName) -> TableMark | None:
        """Return a table's mark."""
        ...

    def put(self, table: TableName, mark: TableMark) -> None:
        """Keep a table's mark."""
        ...


class Sweeping(Protocol):
    """Holds documents against their rows."""

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        """Settle the row of each document of a table and return how many there were."""
        ...


class Landing(Protocol):
    """Knows what is in flight."""

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that is in flight now has landed."""
        ...


Rebuild = Callable[[TableName, ReconcileReason], Awaitable[None]]
"""Asks for the documents that show a table's rows to be compared and mended as a whole."""


class TableWatch:
    """Makes documents follow their tables as a whole.

    For each table it is kept durably which table it was, by its id, and which truncation of it was dealt with last. A
    mark moves only when all that it says is settled, so after a restart a sweep is made again: what is removed stays
    removed, and the rest is read once more.

    `shown_in` names, for a table whose rows others join, the tables whose documents show them, itself among them where
    it has documents of its own. `cdc` watches over the tables' CDC where the log is followed.
    `is_rekeyed` tells of a table that was created again with another primary key.
    """

    def __init__(
        self,
        policies: Mapping[TableName, Policy],
        *,
        schema: LiveSchema,
        records: TruncationRecords,
        marks: Marks,
        sweep: Sweeping,
        flights: Landing,
        rebuild: Rebuild,
        shown_in: Mapping[TableName, Sequence[TableName]] = MappingProxyType({}),
        cdc: CdcWatch | None = None,
        is_rekeyed: Callable[[TableName], bool] = lambda _table: False,
    ) -> None:
        self._policies = policies
        self._schema = schema
        self._records = records
        self._marks = marks
        self._sweep = sweep
        self._flights = flights
        self._rebuild = rebuild
        self._shown_in = shown_in
        self._cdc = cdc
        self._is_rekeyed = is_rekeyed

    async def look(self) -> None:
        """Deal with each table that is another than before. Raises what reading and searching raise."""
        truncated = await self._records.read()
        altered = {} if self._cdc is None else await self._cdc.look(self._policies.keys())
        for table in self._policies:
            mark = await asyncio.to_thread(self._marks.get, table)
            try:
                found = self._schema.table(table)
            except CassandraRefusedError:
                if mark is not None and not mark.dropped:
                    await self._look_for(table, mark)
                continue
            if self._is_rekeyed(table):
                continue  # its documents cannot be held against rows: all is put together anew, and compared
            before = mark if mark is not None and mark.table_id == found.id else TableMark(found.id)
            # A record may be gone again; what was dealt with stays so.
            seen = replace(before, truncated=max(before.truncated, truncated.get(found.id, 0)), dropped=False)
            if self._cdc is not None:
                now = altered.get(table)
                if now is None or now.table_id != found.id:
                    continue  # the schema and the node speak of different tables: one of them lags
                seen = replace(seen, cdc=now.cdc, altered=now.altered)
                await self._cdc.compare(table, mark, seen)
            if mark != seen:
                await self._follow(table, mark, seen)
                await asyncio.to_thread(self._marks.put, table, seen)

    async def _look_for(self, table: TableName, mark: TableMark) -> None:
        try:
            await self._schema.look_again(table)
        except TableDroppedError:
            policy = self._policies[table].on_drop
            log.warning("removal.table_dropped", table=str(table), on_drop=policy)
            if policy == "remove":
                log.info("removal.swept", table=str(table), documents=await self._sweep_all(table, 0))
            await asyncio.to_thread(self._marks.put, table, replace(mark, dropped=True))

    async def _follow(self, table: TableName, mark: TableMark | None, seen: TableMark) -> None:
        """Make the documents of a table that was truncated or created again those of its rows."""
        created = mark is not None and mark.table_id != seen.table_id
        if mark is not None and mark.dropped and not created:
            log.warning("removal.table_back", table=str(table), hint="it was not there for a while: it is read anew")
            await self._rebuild(table, ReconcileReason.TABLE)
        if not created and seen.truncated == (0 if mark is None else mark.truncated):
            return
        policy = self._policies[table].on_truncate
        log.warning(
            "removal.table_created_again" if created else "removal.table_truncated",
            table=str(table),
            on_truncate=policy,
            **({} if created else {"truncated": seen.truncated / 1000}),
        )
        if policy == "keep":
            return
        documents = await self._sweep_all(table, seen.truncated)
        if documents and self._records.nodes > 1:
            await asyncio.sleep(OTHER_NODES)
            await self._sweep_all(table, seen.truncated)
        if policy == "rebuild":
            await self._rebuild(table, ReconcileReason.TABLE)
        log.info("removal.swept", table=str(table), documents=documents)

    async def _sweep_all(self, table: TableName, truncated: int) -> int:
        """Hold the documents of a table, and those that show its rows among others, against their rows."""
        documents = 0
        for shown_in in self._shown_in.get(table, (table,)):
            await self._flights.wait_landed(shown_in, LANDING)
            suspected = truncated * 1000 if shown_in == table else 0
            documents += await self._sweep.run(shown_in, suspected=suspected)
        return documents
