"""Suspended mappings: they no longer fit after their tables were re-created. Other mappings continue."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.config import MappingSettings, Settings
from cdc_daemon.model.errors import CassandraRefusedError, CdcError
from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest
from cdc_daemon.store.table_history import TableState

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SuspendedMapping:
    """A mapping that is suspended because it does not fit the current table, and the reason."""

    mapping: str
    table: TableName
    reason: str
    hint: str | None = None


class SuspendedMappings:
    """Decides which mappings are suspended instead of failing the start: those that fitted their tables before.

    A mapping that does not fit is a configuration error, unless a table that it shows was re-created in the meantime.
    Then its table is suspended with all of its mappings: none of its changes is replicated. When the table fits again,
    a durable request for a reconcile covers these changes.
    """

    def __init__(
        self, schema: SchemaSource, states: Mapping[TableName, TableState], before: Collection[TableName]
    ) -> None:
        self._schema = schema
        self._states = states
        self._suspended_before = before
        self.found: list[SuspendedMapping] = []
        """The suspended mappings that do not fit."""

    @classmethod
    async def load(cls, store: Store, schema: SchemaSource, settings: Settings) -> SuspendedMappings:
        """Load the tables' states, and the tables that were suspended before. Raises `StoreError`."""

        def read() -> tuple[dict[TableName, TableState], frozenset[TableName]]:
            states = {table: store.table_states.get(table) for table in _shown_in(settings)}
            wanted = [each for each in store.reconcile_requests.open() if each.reason is ReconcileReason.KEY]
            before = frozenset(TableName(each.keyspace or "", each.table or "") for each in wanted)
            return {table: known for table, known in states.items() if known is not None}, before

        return cls(schema, *await asyncio.to_thread(read))

    @property
    def tables(self) -> frozenset[TableName]:
        """The suspended tables."""
        return frozenset(each.table for each in self.found)

    def clear(self) -> None:
        """Forget the suspended mappings, before all mappings are checked against a new schema."""
        self.found.clear()

    def suspends(self, name: str, declared: MappingSettings, error: CdcError) -> bool:
        """Suspend a mapping that does not fit and return true, or return false if that is a configuration error."""
        shown = {declared.table, *declared.joined_tables}
        if declared.table not in self._suspended_before and not any(map(self._is_recreated, shown)):
            return False
        self.found.append(SuspendedMapping(name, declared.table, error.message, error.hint))
        return True

    def was_replicated(self, declared: MappingSettings) -> bool:
        """Return whether a mapping's table was replicated before and has not been re-created since."""
        known, now = self._states.get(declared.table), _current(self._schema, declared.table)
        return known is not None and now is not None and known.table_id == now.id

    def _is_recreated(self, table: TableName) -> bool:
        known, now = self._states.get(table), _current(self._schema, table)
        return known is not None and now is not None and known.table_id != now.id

    def log_all(self) -> None:
        """Log each suspended mapping that does not fit."""
        for each in self.found:
            log.error(
                "mapping.held",
                mapping=each.mapping,
                table=str(each.table),
                error=each.reason,
                hint=each.hint
                or "correct the mapping and restart, or re-create the table so that the mapping fits; "
                "until then its documents stay unchanged, afterwards the whole table is reconciled",
            )

    def without(self, settings: Settings) -> Settings:
        """Return the settings without the suspended tables."""
        tables = self.tables
        if not tables:
            return settings
        mappings = {name: each for name, each in settings.mappings.items() if each.table not in tables}
        shown = {table for each in mappings.values() for table in (each.table, *each.joined_tables)}
        poll = tuple(each for each in settings.poll if each.table in shown)
        return settings.model_copy(update={"mappings": mappings, "poll": poll})

    def object_types(self, settings: Settings) -> Mapping[str, str]:
        """Return the names of all mappings of suspended tables, with the reasons."""
        reasons = {each.table: each.reason for each in self.found}
        own = {each.mapping: each.reason for each in self.found}
        return {
            name: own.get(name, reasons[each.table])
            for name, each in settings.mappings.items()
            if each.table in reasons
        }

    def watched_tables(self, settings: Settings) -> frozenset[TableName]:
        """Return the tables that the suspended mappings show: a change of one may make its mapping fit."""
        names = {each.mapping for each in self.found}
        return frozenset(
            table
            for name, each in settings.mappings.items()
            if name in names
            for table in (each.table, *each.joined_tables)
        )


def reset_rekeyed_tables(
    settings: Settings, schema: SchemaSource, store: Store, *, suspended: Collection[TableName]
) -> None:
    """Request a reconcile of tables that were re-created with another primary key, and of suspended tables.

    Stored state about the old keys is deleted. Stored changes of the new keys are deleted too, because the reconcile
    covers them. Blocks for commits. Raises `StoreError`.
    """
    wanted: set[TableName] = set(suspended)
    rekeyed: dict[TableName, TableMetadata] = {}
    for table, bases in _shown_in(settings).items():
        known, now = store.table_states.get(table), _current(schema, table)
        before = None if known is None else schema.get(known.table_id)
        if now is None or before is None or before.id == now.id or before.has_key_of(now):
            continue
        rekeyed[table] = now
        wanted |= bases
        log.warning("mapping.key_changed", table=str(table), before=_key_columns(before), now=_key_columns(now))
    opened = {
        (each.keyspace, each.table) for each in store.reconcile_requests.open() if each.reason is ReconcileReason.KEY
    }
    requested = [table for table in wanted if table not in opened or table in rekeyed]
    if requested:
        store.reconcile_requests.add(
            [
                ReconcileRequest(reason=ReconcileReason.KEY, segment_id=0, keyspace=table.keyspace, table=table.table)
                for table in sorted(requested)
            ]
        )
    for table, now in rekeyed.items():
        store.spool.forget(table)
        store.expiries.forget(table)
        store.dependents.forget(table)
        store.suspects.forget(table)
        store.table_states.put(table, TableState(now.id))


def _shown_in(settings: Settings) -> Mapping[TableName, set[TableName]]:
    """Return, for each table that mappings show, the tables whose documents show it."""
    found: dict[TableName, set[TableName]] = defaultdict(set)
    for mapping in settings.mappings.values():
        for table in (mapping.table, *mapping.joined_tables):
            found[table].add(mapping.table)
    return found


def _current(schema: SchemaSource, table: TableName) -> TableMetadata | None:
    try:
        return schema.table(table)
    except CassandraRefusedError:
        return None


def _key_columns(table: TableMetadata) -> list[str]:
    return [column.name for column in (*table.partition_key, *table.clustering)]
