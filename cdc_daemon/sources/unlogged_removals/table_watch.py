"""Tables that are truncated, dropped or re-created while the daemon runs, or while it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import structlog

from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.model.errors import CassandraRefusedError, CdcError, TableDroppedError, alias_of
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals.cdc_watch import CdcWatch
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

log = structlog.get_logger(__name__)

INTERVAL = 2.0
"""Seconds between two checks."""

AT_ONCE = 4
"""Tables swept concurrently. A sweep may take an hour; other tables are checked in the meantime."""

LANDING = 60.0
"""Maximum seconds to wait for rows that were read before a truncation: no body older than that is sent."""

OTHER_NODES = 60.0
"""Seconds after which a sweep is repeated where there are other nodes: the default of `truncate_request_timeout`.
Until then another replica may still have returned rows that it was about to truncate. It is Cassandra's time, not that
of other daemons, which jobs and dependents wait for."""

_SAID_AGAIN = 60.0


class Policy(NamedTuple):
    """What happens to a table's documents: `remove`, `keep` or `rebuild`, and `remove` or `keep`."""

    on_truncate: str
    on_drop: str


class LiveSchema(Protocol):
    """The current tables."""

    def table(self, name: TableName) -> TableMetadata:
        """Return a table. Raises `CassandraRefusedError` when there is no such table in the schema."""
        ...

    async def look_again(self, name: TableName) -> None:
        """Read the schema again. Raises `TableDroppedError` when the table is certainly gone."""
        ...


class TruncationRecords(Protocol):
    """When tables were truncated."""

    @property
    def nodes(self) -> int:
        """Number of nodes in the cluster."""
        ...

    async def read(self) -> Mapping[bytes, int]:
        """Return the times (ms since epoch) by table id."""
        ...


class TableMarkStore(Protocol):
    """Durable marks by table; methods block."""

    def get(self, table: TableName) -> TableState | None:
        """Return a table's mark."""
        ...

    def put(self, table: TableName, mark: TableState) -> None:
        """Store a table's mark."""
        ...


class Sweeping(Protocol):
    """Compares documents with their rows."""

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        """Process the row of each document of a table and return the number of documents."""
        ...


class InFlightRows(Protocol):
    """The rows in flight."""

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that is in flight now is written."""
        ...


Rebuild = Callable[[TableName, ReconcileReason], Awaitable[None]]
"""Requests that all documents that show a table's rows are compared and repaired."""


class TableWatch:
    """Applies truncations, drops and re-creations of tables to their documents.

    For each table its id and its last handled truncation are stored durably. A mark moves only when everything that it
    stands for is done, so a sweep is repeated after a restart: removed documents stay removed, and the other rows are
    read once more. Each table that is swept has a task of its own, `AT_ONCE` of them at most; what happens to the table
    during its sweep is detected afterwards.

    `shown_in` lists, for a table with rows that others join, the tables with documents that show them, including the
    table itself where it has documents of its own. `cdc` monitors the tables' CDC where the log is followed.
    `is_rekeyed` returns whether a table was re-created with another primary key.
    """

    def __init__(
        self,
        policies: Mapping[TableName, Policy],
        *,
        schema: LiveSchema,
        records: TruncationRecords,
        marks: TableMarkStore,
        sweep: Sweeping,
        flights: InFlightRows,
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
        self._swept: dict[TableName, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        """Process each table that has changed, checking again and again while documents are swept.

        Raises what reading and searching raise. A sweep that fails stops no other sweep, and is restarted.
        """
        try:
            while True:
                await self._look_on()
                if not self._swept:
                    return
                await asyncio.wait(self._swept.values(), timeout=INTERVAL)
                self._take_ended()
        finally:
            for task in self._swept.values():
                task.cancel()
            await asyncio.gather(*self._swept.values(), return_exceptions=True)
            self._swept = {}

    async def _look_on(self) -> None:
        try:
            await self._look()
        except CdcError as error:
            if not self._swept:
                raise
            _say_failed("removal.look_failed", error)

    def _take_ended(self) -> None:
        """Remove the sweeps that have ended; raise the error of a failed one when no other sweep is running."""
        ended = {table: task for table, task in self._swept.items() if task.done()}
        self._swept = {table: task for table, task in self._swept.items() if table not in ended}
        failed = {table: error for table, task in ended.items() if (error := task.exception()) is not None}
        for table, error in failed.items():
            _say_failed("removal.sweep_failed", error, table)
        if failed and not self._swept:
            raise next(iter(failed.values()))

    async def _look(self) -> None:
        """Check each table that is not being swept, and start the required work."""
        truncated = await self._records.read()
        altered = {} if self._cdc is None else await self._cdc.look(self._policies.keys())
        for table in self._policies:
            if table in self._swept:
                continue
            mark = await asyncio.to_thread(self._marks.get, table)
            try:
                found = self._schema.table(table)
            except CassandraRefusedError:
                if mark is not None and not mark.dropped:
                    await self._look_for(table, mark)
                continue
            if self._is_rekeyed(table):
                continue  # its documents cannot be compared with rows: all parts are rebuilt, then compared
            before = mark if mark is not None and mark.table_id == found.id else TableState(found.id)
            # A record may be deleted again; a handled truncation stays handled.
            seen = replace(before, truncated=max(before.truncated, truncated.get(found.id, 0)), dropped=False)
            if self._cdc is not None:
                now = altered.get(table)
                if now is None or now.table_id != found.id:
                    continue  # the schema and the node name different tables: one of them lags
                seen = replace(seen, cdc=now.cdc, altered=now.altered)
            emptied = _is_created(mark, seen) or seen.truncated != (0 if mark is None else mark.truncated)
            if emptied and not self._has_room:
                continue
            if self._cdc is not None and not await self._cdc.compare(table, mark, seen):
                continue
            if mark != seen:
                await self._follow(table, mark, seen, emptied=emptied)

    @property
    def _has_room(self) -> bool:
        return len(self._swept) < AT_ONCE

    def _begin(self, table: TableName, sweep: Coroutine[Any, Any, None]) -> None:
        self._swept[table] = asyncio.create_task(sweep, name=f"sweep-{table}")

    async def _look_for(self, table: TableName, mark: TableState) -> None:
        policy = self._policies[table].on_drop
        if policy == "remove" and not self._has_room:
            return
        try:
            await self._schema.look_again(table)
        except TableDroppedError:
            log.warning("removal.table_dropped", table=str(table), on_drop=policy)
            seen = replace(mark, dropped=True)
            if policy == "remove":
                self._begin(table, self._empty(table, seen))
            else:
                await asyncio.to_thread(self._marks.put, table, seen)

    async def _empty(self, table: TableName, seen: TableState) -> None:
        """Remove the documents of a table that was dropped."""
        log.info("removal.swept", table=str(table), documents=await self._sweep_all(table, 0))
        await asyncio.to_thread(self._marks.put, table, seen)

    async def _follow(self, table: TableName, mark: TableState | None, seen: TableState, *, emptied: bool) -> None:
        """Make the documents of a table match its rows; it was truncated or re-created if `emptied`."""
        created = _is_created(mark, seen)
        if mark is not None and mark.dropped and not created:
            log.warning("removal.table_back", table=str(table), hint="it was not there for a while: it is read anew")
            await self._rebuild(table, ReconcileReason.TABLE)
        if not emptied:
            await asyncio.to_thread(self._marks.put, table, seen)
            return
        policy = self._policies[table].on_truncate
        log.warning(
            "removal.table_created_again" if created else "removal.table_truncated",
            table=str(table),
            on_truncate=policy,
            **({} if created else {"truncated": seen.truncated / 1000}),
        )
        if policy == "keep":
            await asyncio.to_thread(self._marks.put, table, seen)
        else:
            self._begin(table, self._refill(table, seen, policy))

    async def _refill(self, table: TableName, seen: TableState, policy: str) -> None:
        """Compare the documents of a table that was truncated or re-created with its rows."""
        documents = await self._sweep_all(table, seen.truncated)
        if documents and self._records.nodes > 1:
            await asyncio.sleep(OTHER_NODES)
            await self._sweep_all(table, seen.truncated)
        if policy == "rebuild":
            await self._rebuild(table, ReconcileReason.TABLE)
        log.info("removal.swept", table=str(table), documents=documents)
        await asyncio.to_thread(self._marks.put, table, seen)

    async def _sweep_all(self, table: TableName, truncated: int) -> int:
        """Compare the documents of a table, and those that show its rows among others, with their rows."""
        documents = 0
        failure: CdcError | None = None
        for shown_in in self._shown_in.get(table, (table,)):
            await self._flights.wait_landed(shown_in, LANDING)
            suspected = truncated * 1000 if shown_in == table else 0
            try:
                documents += await self._sweep.run(shown_in, suspected=suspected)
            except CdcError as error:
                if alias_of(error) is None:
                    raise
                failure = failure or error  # of one index; the documents of other indices must follow regardless
        if failure is not None:
            raise failure
        return documents


def _is_created(mark: TableState | None, seen: TableState) -> bool:
    """Return whether a table was re-created."""
    return mark is not None and mark.table_id != seen.table_id


def _say_failed(event: str, error: BaseException, table: TableName | None = None) -> None:
    log.warning(
        event,
        table=None if table is None else str(table),
        error=str(error),
        hint=error.hint if isinstance(error, CdcError) else None,
        exc_info=None if isinstance(error, CdcError) else error,
        every=_SAID_AGAIN,
        every_key=str(table),
    )
