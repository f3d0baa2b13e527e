"""Handles tables that are truncated, dropped or re-created, while the daemon runs or while it is stopped."""

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
from cdc_daemon.pipeline.handover import InFlightRows
from cdc_daemon.sources.unlogged_removals.cdc_watch import CdcWatch
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

log = structlog.get_logger(__name__)

INTERVAL = 2.0
"""Seconds between two checks."""

AT_ONCE = 4
"""Tables swept concurrently. A sweep may take an hour; other tables are checked in the meantime."""

IN_FLIGHT_SECONDS = 60.0
"""Maximum seconds to wait for in-flight rows that were read before a truncation."""

OTHER_NODES_SECONDS = 60.0
"""Seconds after which a sweep is repeated in a cluster of several nodes: the default of `truncate_request_timeout`.
Until then another replica may still return rows that it is about to truncate. This is unrelated to the pause of jobs
and dependents, which waits for other daemons."""

_LOG_INTERVAL = 60.0


class Policy(NamedTuple):
    """What happens to a table's documents: `remove`, `keep` or `rebuild` on TRUNCATE, `remove` or `keep` on DROP."""

    on_truncate: str
    on_drop: str


class CurrentSchema(Protocol):
    """The current schema."""

    def table(self, name: TableName) -> TableMetadata:
        """Return a table. Raises `CassandraRefusedError` when there is no such table in the schema."""
        ...

    async def look_again(self, name: TableName) -> None:
        """Read the schema again. Raises `TableDroppedError` when the table is certainly dropped."""
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


class TableStateStore(Protocol):
    """The durable state of each table; methods block."""

    def get(self, table: TableName) -> TableState | None:
        """Return the stored state of a table."""
        ...

    def put(self, table: TableName, state: TableState) -> None:
        """Store the state of a table."""
        ...


class DocumentSweep(Protocol):
    """Compares documents with their rows."""

    async def run(self, table: TableName, *, suspected: int = 0) -> int:
        """Process the row of each document of a table and return the number of documents."""
        ...


Reconcile = Callable[[TableName, ReconcileReason], Awaitable[None]]
"""Requests a reconcile of all documents that show a table's rows, with the reason."""


class TableWatch:
    """Applies truncations, drops and re-creations of tables to their documents.

    Each table's state is stored durably: its id and its last handled truncation. A state is stored only when the work
    for it is done, so an interrupted sweep is repeated after a restart. Each swept table has a task of its own, at most
    `AT_ONCE` of them. Changes of a table during its sweep are detected afterwards.

    `shown_in` contains, for a table that others join, the tables whose documents show its rows, including the table
    itself if it has documents. `cdc` watches the tables' CDC setting; None if the daemon does not read the log.
    `is_rekeyed` returns whether a table was re-created with another primary key.
    """

    def __init__(
        self,
        policies: Mapping[TableName, Policy],
        *,
        schema: CurrentSchema,
        records: TruncationRecords,
        states: TableStateStore,
        sweep: DocumentSweep,
        flights: InFlightRows,
        reconcile: Reconcile,
        shown_in: Mapping[TableName, Sequence[TableName]] = MappingProxyType({}),
        cdc: CdcWatch | None = None,
        is_rekeyed: Callable[[TableName], bool] = lambda _table: False,
    ) -> None:
        self._policies = policies
        self._schema = schema
        self._records = records
        self._states = states
        self._sweep = sweep
        self._flights = flights
        self._reconcile = reconcile
        self._shown_in = shown_in
        self._cdc = cdc
        self._is_rekeyed = is_rekeyed
        self._sweeps: dict[TableName, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        """Process each changed table; check all tables repeatedly while documents are swept.

        Raises as reading and searching do. A failed sweep is restarted, and stops no other sweep.
        """
        try:
            while True:
                await self._check_during_sweeps()
                if not self._sweeps:
                    return
                await asyncio.wait(self._sweeps.values(), timeout=INTERVAL)
                self._collect_ended()
        finally:
            for task in self._sweeps.values():
                task.cancel()
            await asyncio.gather(*self._sweeps.values(), return_exceptions=True)
            self._sweeps = {}

    async def _check_during_sweeps(self) -> None:
        try:
            await self._check()
        except CdcError as error:
            if not self._sweeps:
                raise
            _log_failure("removal.look_failed", error)

    def _collect_ended(self) -> None:
        """Remove the sweeps that have ended; raise the error of a failed one when no other sweep is running."""
        ended = {table: task for table, task in self._sweeps.items() if task.done()}
        self._sweeps = {table: task for table, task in self._sweeps.items() if table not in ended}
        failed = {table: error for table, task in ended.items() if (error := task.exception()) is not None}
        for table, error in failed.items():
            _log_failure("removal.sweep_failed", error, table)
        if failed and not self._sweeps:
            raise next(iter(failed.values()))

    async def _check(self) -> None:
        """Check each table that is not being swept, and start the necessary work."""
        truncated = await self._records.read()
        altered = {} if self._cdc is None else await self._cdc.read(self._policies.keys())
        for table in self._policies:
            if table in self._sweeps:
                continue
            known = await asyncio.to_thread(self._states.get, table)
            try:
                found = self._schema.table(table)
            except CassandraRefusedError:
                if known is not None and not known.dropped:
                    await self._check_dropped(table, known)
                continue
            if self._is_rekeyed(table):
                continue  # documents of the old key cannot be compared; the table is reconciled after a rebuild
            before = known if known is not None and known.table_id == found.id else TableState(found.id)
            # Cassandra may delete a truncation record; a handled truncation stays handled.
            seen = replace(before, truncated=max(before.truncated, truncated.get(found.id, 0)), dropped=False)
            if self._cdc is not None:
                now = altered.get(table)
                if now is None or now.table_id != found.id:
                    continue  # the driver's schema and the node's differ: one of them lags
                seen = replace(seen, cdc=now.cdc, altered=now.altered)
            emptied = _is_created(known, seen) or seen.truncated != (0 if known is None else known.truncated)
            if emptied and not self._has_room:
                continue
            if self._cdc is not None and not await self._cdc.compare(table, known, seen):
                continue
            if known != seen:
                await self._apply(table, known, seen, emptied=emptied)

    @property
    def _has_room(self) -> bool:
        return len(self._sweeps) < AT_ONCE

    def _start_sweep(self, table: TableName, sweep: Coroutine[Any, Any, None]) -> None:
        self._sweeps[table] = asyncio.create_task(sweep, name=f"sweep-{table}")

    async def _check_dropped(self, table: TableName, known: TableState) -> None:
        policy = self._policies[table].on_drop
        if policy == "remove" and not self._has_room:
            return
        try:
            await self._schema.look_again(table)
        except TableDroppedError:
            log.warning("removal.table_dropped", table=str(table), on_drop=policy)
            seen = replace(known, dropped=True)
            if policy == "remove":
                self._start_sweep(table, self._remove_documents(table, seen))
            else:
                await asyncio.to_thread(self._states.put, table, seen)

    async def _remove_documents(self, table: TableName, seen: TableState) -> None:
        """Remove the documents of a table that was dropped."""
        log.info("removal.swept", table=str(table), documents=await self._sweep_all(table, 0))
        await asyncio.to_thread(self._states.put, table, seen)

    async def _apply(self, table: TableName, known: TableState | None, seen: TableState, *, emptied: bool) -> None:
        """Make the documents of a table match its rows; it was truncated or re-created if `emptied`."""
        created = _is_created(known, seen)
        if known is not None and known.dropped and not created:
            log.warning("removal.table_back", table=str(table), hint="it was dropped for some time: it is reconciled")
            await self._reconcile(table, ReconcileReason.TABLE)
        if not emptied:
            await asyncio.to_thread(self._states.put, table, seen)
            return
        policy = self._policies[table].on_truncate
        log.warning(
            "removal.table_created_again" if created else "removal.table_truncated",
            table=str(table),
            on_truncate=policy,
            **({} if created else {"truncated": seen.truncated / 1000}),
        )
        if policy == "keep":
            await asyncio.to_thread(self._states.put, table, seen)
        else:
            self._start_sweep(table, self._compare_documents(table, seen, policy))

    async def _compare_documents(self, table: TableName, seen: TableState, policy: str) -> None:
        """Compare the documents of a table that was truncated or re-created with its rows."""
        documents = await self._sweep_all(table, seen.truncated)
        if documents and self._records.nodes > 1:
            await asyncio.sleep(OTHER_NODES_SECONDS)
            await self._sweep_all(table, seen.truncated)
        if policy == "rebuild":
            await self._reconcile(table, ReconcileReason.TABLE)
        log.info("removal.swept", table=str(table), documents=documents)
        await asyncio.to_thread(self._states.put, table, seen)

    async def _sweep_all(self, table: TableName, truncated: int) -> int:
        """Sweep a table's documents, and the documents of other tables that show its rows."""
        documents = 0
        failure: CdcError | None = None
        for shown_in in self._shown_in.get(table, (table,)):
            await self._flights.wait_landed(shown_in, IN_FLIGHT_SECONDS)
            suspected = truncated * 1000 if shown_in == table else 0
            try:
                documents += await self._sweep.run(shown_in, suspected=suspected)
            except CdcError as error:
                if alias_of(error) is None:
                    raise
                failure = failure or error  # of one index; the other indices must be swept regardless
        if failure is not None:
            raise failure
        return documents


def _is_created(known: TableState | None, seen: TableState) -> bool:
    """Return whether a table was re-created."""
    return known is not None and known.table_id != seen.table_id


def _log_failure(event: str, error: BaseException, table: TableName | None = None) -> None:
    log.warning(
        event,
        table=None if table is None else str(table),
        error=str(error),
        hint=error.hint if isinstance(error, CdcError) else None,
        exc_info=None if isinstance(error, CdcError) else error,
        every=_LOG_INTERVAL,
        every_key=str(table),
    )
