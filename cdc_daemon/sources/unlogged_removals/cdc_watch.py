"""Periods without CDC: no segment has a table's changes then, so they must be searched for when CDC is on again."""

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
"""Seconds between two checks in which a table is assumed to be altered once at most, unless contradicted."""


class SchemaRecords(Protocol):
    """When tables were altered, as the node records it."""

    async def read(self, keyspaces: Collection[str]) -> Mapping[TableName, SchemaRecord]:
        """Return the alteration records of the tables of these keyspaces."""
        ...

    async def write_times(self, table: TableName) -> SchemaWriteTimes:
        """Return when the parts of a table were written."""
        ...


Reconcile = Callable[[TableName, ReconcileReason, int | None], Awaitable[None]]
"""Requests that a table is compared and repaired, and from when on (µs since epoch) changes may be lost."""


class CdcWatch:
    """Compares each table's CDC setting with that of the last check, in this process or an earlier one.

    CDC that was switched off and on again between two checks shows only in the time of the table's last alteration.
    A new alteration time is explained where the checks were close together and the alteration was one of the table's
    columns or a new index, as no such statement alters CDC. In all other cases the table is reconciled, which is slow
    but loses nothing. One case is not detected: CDC switched off and on within two seconds, and a column altered
    just after that, within the same two seconds.
    """

    def __init__(self, records: SchemaRecords, reconcile: Reconcile, *, now: Callable[[], float] = time.time) -> None:
        self._records = records
        self._reconcile = reconcile
        self._now = now
        self._looked = float("-inf")
        self._last: dict[TableName, float] = {}

    async def look(self, tables: Collection[TableName]) -> Mapping[TableName, SchemaRecord]:
        """Return the current tables, for `compare`. Raises as `execute` does."""
        self._looked = self._now()
        return await self._records.read({table.keyspace for table in tables})

    async def compare(self, table: TableName, mark: TableState | None, seen: TableState) -> bool:
        """Request what the log may have missed since `mark`; return whether everything since then has been judged.

        A table that is altered while it is checked is judged by a later check, at most `SHORT` seconds after the last
        one that judged it. Until then its mark must not change.
        Raises as `execute` does, and `StoreError`.
        """
        if mark is not None and mark != seen and not await self._is_judged(table, mark, seen):
            return False
        self._last[table] = self._looked
        return True

    async def _is_judged(self, table: TableName, mark: TableState, seen: TableState) -> bool:
        if not seen.cdc:
            if mark.cdc:
                log.warning(
                    "removal.cdc_off",
                    table=str(table),
                    hint=f"changes of this table are not seen: ALTER TABLE {table} WITH cdc = true",
                )
        elif not mark.cdc:
            log.warning("removal.cdc_on_again", table=str(table), hint="what was changed meanwhile is reconciled")
            await self._reconcile(table, ReconcileReason.CDC_OFF, mark.altered or None)
        elif mark.altered and mark.altered != seen.altered:
            times = await self._records.write_times(table)
            if self._is_soon(table) and times.newest > seen.altered:
                return False
            if self._is_explained(table, mark, seen, times):
                return True
            log.warning(
                "removal.altered_unseen",
                table=str(table),
                known_since=mark.altered / 1e6,
                altered=seen.altered / 1e6,
                hint="CDC may have been off for a while, unseen: what may have been changed then is reconciled",
            )
            await self._reconcile(table, ReconcileReason.ALTERED, mark.altered)
        return True

    def _is_explained(self, table: TableName, mark: TableState, seen: TableState, times: SchemaWriteTimes) -> bool:
        if mark.table_id != seen.table_id:
            return times.oldest == seen.altered  # created with CDC and not altered since
        return self._is_soon(table) and times.newest == seen.altered

    def _is_soon(self, table: TableName) -> bool:
        return 0 <= self._looked - self._last.get(table, float("-inf")) <= SHORT
