"""Detects periods in which a table had no CDC. No segment contains its changes then, so the table is reconciled."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

import structlog

from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.unlogged_removals.system_tables import SchemaRecord, SchemaWriteTimes
from cdc_daemon.store.reconcile_requests import ReconcileReason
from cdc_daemon.store.table_history import TableState

log = structlog.get_logger(__name__)

SHORT = 10.0
"""Seconds between two checks for which a table is assumed to have been altered at most once, unless its write times
show otherwise."""


class SchemaRecords(Protocol):
    """The node's records of schema changes."""

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        """Return the schema records of the tables of these keyspaces."""
        ...

    async def write_times(self, table: TableName) -> SchemaWriteTimes:
        """Return when the columns and indices of a table were written."""
        ...


Reconcile = Callable[[TableName, ReconcileReason, int | None], Awaitable[None]]
"""Requests a reconcile of a table, with the reason and the time (µs since epoch) since which changes may be lost."""


class CdcWatch:
    """Compares each table's CDC setting with that of the last check, in this process or an earlier one.

    If CDC was switched off and on again between two checks, only the time of the table's last alteration shows it. A
    new alteration time is harmless if the checks were close together and a column was altered or an index created:
    these statements do not change CDC. In all other cases the table is reconciled, which is slow but loses nothing. One
    case is not detected: CDC is switched off and on, and a column is altered just after that, all within two seconds.
    """

    def __init__(self, records: SchemaRecords, reconcile: Reconcile, *, now: Callable[[], float] = time.time) -> None:
        self._records = records
        self._reconcile = reconcile
        self._now = now
        self._read_at = float("-inf")
        self._last: dict[TableName, float] = {}

    async def read(self, tables: Collection[TableName]) -> Mapping[TableName, SchemaRecord]:
        """Return the current schema records, for `compare`. Raises as `execute` does."""
        self._read_at = self._now()
        return await self._records.read({table.keyspace for table in tables})

    async def compare(self, table: TableName, known: TableState | None, seen: TableState) -> bool:
        """Reconcile the table if the log may lack changes since `known`; return whether that could be decided.

        If a table is altered during a check, a later check decides, at most `SHORT` seconds after the last decision.
        Until then the stored state of the table must not change. Raises as `execute` does, and `StoreError`.
        """
        if known is not None and known != seen and not await self._is_decided(table, known, seen):
            return False
        self._last[table] = self._read_at
        return True

    async def _is_decided(self, table: TableName, known: TableState, seen: TableState) -> bool:
        if not seen.cdc:
            if known.cdc:
                log.warning(
                    "removal.cdc_off",
                    table=str(table),
                    hint=f"changes of this table are not replicated: ALTER TABLE {table} WITH cdc = true",
                )
        elif not known.cdc:
            log.warning("removal.cdc_on_again", table=str(table), hint="changes made while CDC was off are reconciled")
            await self._reconcile(table, ReconcileReason.CDC_OFF, known.altered or None)
        elif known.altered and known.altered != seen.altered:
            times = await self._records.write_times(table)
            if self._is_soon_after(table) and times.newest > seen.altered:
                return False
            if self._is_harmless(table, known, seen, times):
                return True
            log.warning(
                "removal.altered_unseen",
                table=str(table),
                known_since=known.altered / 1e6,
                altered=seen.altered / 1e6,
                hint="CDC may have been off for some time: the table is reconciled",
            )
            await self._reconcile(table, ReconcileReason.ALTERED, known.altered)
        return True

    def _is_harmless(self, table: TableName, known: TableState, seen: TableState, times: SchemaWriteTimes) -> bool:
        if known.table_id != seen.table_id:
            return times.oldest == seen.altered  # created with CDC and not altered since
        return self._is_soon_after(table) and times.newest == seen.altered

    def _is_soon_after(self, table: TableName) -> bool:
        return 0 <= self._read_at - self._last.get(table, float("-inf")) <= SHORT
