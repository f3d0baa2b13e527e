"""The part that follows the tables' schema, with the mappings that fit it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Self

import structlog

from cdc_daemon.app.part import Context, Part, run_together
from cdc_daemon.app.parts.cassandra import CassandraPart
from cdc_daemon.app.startup import ReportWait, ignore_wait, persist
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import MappingSettings, Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.routing import find_routes, group_routes
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch
from cdc_daemon.sources.schema_changes.suspended_mappings import SuspendedMappings, reset_rekeyed_tables

log = structlog.get_logger(__name__)

Mappings = Mapping[TableName, Sequence[DocumentMapping]]
"""Mappings by the table whose rows become their documents."""


class TablesPart(Part):
    """The mappings that fit their tables, the mappings that are suspended, and the watch of the tables' schema.

    `settings` has the mappings that fit only. `shown` are the tables with rows shown in documents; `keys` watches
    their primary keys. `routes` lead from a table's rows to the documents that show them.
    """

    name = "tables"

    def __init__(
        self, settings: Settings, schema: SchemaSource, mappings: Mappings, suspended: SuspendedMappings
    ) -> None:
        self.settings = suspended.without(settings)
        self.mappings = mappings
        self.shown = read_tables(mappings)
        self.suspended = tuple(suspended.found)
        self.suspended_tables = suspended.tables
        self.suspended_types = suspended.object_types(settings)
        self.routes = group_routes(find_routes(self.listed, schema.table))
        known = {table: schema.known(table) for table in self.shown}
        self.keys = PrimaryKeyWatch(known, schema, suspended=suspended.watched_tables(settings))
        # The watch begins before `run`: a start may wait long for Elasticsearch, and a dropped table's definition is
        # lost if nobody reads it before.
        self._watching = asyncio.create_task(schema.watch(), name="schema")

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context, cassandra: CassandraPart) -> AsyncIterator[Self]:
        """Apply the mappings to the live schema, waiting for tables that do not exist yet; watch it during a block.

        Raises `StoreError`, and `ConfigError` for a mapping that has never fitted its table.
        """
        settings, schema, store = context.settings, cassandra.schema, context.store
        suspended = await SuspendedMappings.load(store, schema, settings)
        mappings = await make_mappings(settings, schema, suspended=suspended, report_wait=context.report_wait)
        suspended.log_all()
        await asyncio.to_thread(reset_rekeyed_tables, settings, schema, store, suspended=suspended.tables)
        part = cls(settings, schema, mappings, suspended)
        cassandra.probe(part.shown)
        try:
            yield part
        finally:
            part._watching.cancel()

    @property
    def listed(self) -> Sequence[DocumentMapping]:
        """All mappings."""
        return [mapping for several in self.mappings.values() for mapping in several]

    @property
    def aliases(self) -> Mapping[TableName, Sequence[str]]:
        """The aliases that each table's mappings write to."""
        return {table: [mapping.alias for mapping in several] for table, several in self.mappings.items()}

    async def run(self) -> None:
        """Watch the schema and the primary keys."""
        await run_together(**{"schema-outcome": self._wait_watching, "keys": self.keys.run})

    def status(self) -> Mapping[str, Any]:
        """Return the tables, and the mappings that are suspended."""
        return {
            "tables": [str(table) for table in self.shown],
            "held": [{**asdict(each), "table": str(each.table)} for each in self.suspended],
        }

    async def _wait_watching(self) -> None:
        """Wait for the watch of the schema without cancelling it; raise its error."""
        await asyncio.shield(self._watching)


async def make_mappings(
    settings: Settings,
    schema: SchemaSource,
    *,
    suspended: SuspendedMappings | None = None,
    report_wait: ReportWait = ignore_wait,
) -> dict[TableName, list[DocumentMapping]]:
    """Apply the declared mappings to the live schema, waiting for tables that do not exist yet.

    A dropped table keeps its last definition: it blocks no other table, and may be re-created. Tables of mappings in
    `suspended` are left out. A mapping that names a column dropped since the first replication stays unchanged, as it
    does while the daemon runs.
    Raises `ConfigError` if a mapping names a column that its table does not have.
    """

    async def attempt() -> dict[TableName, list[DocumentMapping]]:
        await schema.refresh()
        if suspended is not None:
            suspended.clear()
        found: dict[TableName, list[DocumentMapping]] = defaultdict(list)
        for name, mapping in settings.mappings.items():
            try:
                made = make_mapping(name, mapping, schema)
                find_routes([made], schema.known)
            except ConfigError as error:
                if suspended is not None and suspended.suspends(name, mapping, error):
                    continue
                earlier = (
                    _as_it_was(name, mapping, schema)
                    if suspended is not None and suspended.was_replicated(mapping)
                    else None
                )
                if earlier is None:
                    raise
                log.warning("mapping.does_not_fit", mapping=name, error=str(error), hint=error.hint)
                made = earlier
            found[mapping.table].append(made)
        waiting = frozenset() if suspended is None else suspended.tables
        return {table: several for table, several in found.items() if table not in waiting}

    mappings = await persist("schema", attempt, report_wait=report_wait)
    for table in read_tables(mappings) if settings.tail else ():
        if schema.generation(table) is None:
            log.warning("schema.table_dropped", table=str(table), hint="create it again, or take its mapping out")
        elif not schema.table(table).cdc:
            log.warning(
                "schema.cdc_off",
                table=str(table),
                hint=f"changes of this table are not seen: ALTER TABLE {table} WITH cdc = true",
            )
    return mappings


def make_mapping(name: str, declared: MappingSettings, schema: SchemaSource) -> DocumentMapping:
    """Apply one declared mapping to its current tables, or to dropped tables' last definitions.

    Raises `ConfigError` if it does not fit and `CassandraRefusedError` if a table never existed.
    """
    joined = {table: schema.known(table) for table in declared.joined_tables}
    return DocumentMapping(name, declared, schema.known(declared.table), joined)


def _as_it_was(name: str, declared: MappingSettings, schema: SchemaSource) -> DocumentMapping | None:
    """Apply a declared mapping to its tables including dropped columns. None if it does not fit."""
    joined = {table: schema.known(table).with_dropped() for table in declared.joined_tables}
    try:
        made = DocumentMapping(name, declared, schema.known(declared.table).with_dropped(), joined)
        find_routes([made], schema.known)
    except ConfigError:
        return None
    return made


def read_tables(mappings: Mapping[TableName, Sequence[DocumentMapping]]) -> list[TableName]:
    """Return every table with rows shown in documents: the mappings' own tables and joined ones."""
    joined = {table for several in mappings.values() for mapping in several for table in mapping.related.tables}
    return [*mappings, *sorted(joined - mappings.keys())]
