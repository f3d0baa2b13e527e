"""Builds the parts that remove documents."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from cassandra.cluster import Session

from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.config import Settings
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.key import Key
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.gate import Gate
from cdc_daemon.pipeline.handover import BackgroundSink
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.sources.requests.errors import InvalidIdError
from cdc_daemon.sources.requests.ids import IdParser
from cdc_daemon.sources.schema_changes.primary_keys import PrimaryKeyWatch
from cdc_daemon.sources.unlogged_removals.cdc_watch import CdcWatch
from cdc_daemon.sources.unlogged_removals.index_rows import Feed, IndexRows, KeyOfId
from cdc_daemon.sources.unlogged_removals.sweep import Sweep
from cdc_daemon.sources.unlogged_removals.system_tables import SchemaRecordReader, TruncationRecordReader
from cdc_daemon.sources.unlogged_removals.table_watch import Policy, TableWatch
from cdc_daemon.store import Store
from cdc_daemon.store.reconcile_requests import ReconcileReason, ReconcileRequest

_JOINED = Policy("remove", "keep")
"""The policy for a table without its own documents, shown only in other tables' documents."""


class Rebuild(Protocol):
    """Requests a comparison of documents with their rows, durably."""

    async def __call__(
        self, table: TableName, reason: ReconcileReason = ReconcileReason.TABLE, since: int | None = None
    ) -> None:
        """Request it for a table's changes written at `since` (microseconds since epoch) or later."""
        ...


def make_index_rows(
    settings: Settings, mappings: Mapping[TableName, Iterable[DocumentMapping]], client: SearchEngine
) -> IndexRows:
    """Return a reader of the rows that each table's documents show."""
    return IndexRows(
        client,
        {
            table: [Feed(mapping.alias, _key_of_id(settings, mapping)) for mapping in several]
            for table, several in mappings.items()
        },
    )


def make_table_watch(
    settings: Settings,
    mappings: Mapping[TableName, Iterable[DocumentMapping]],
    *,
    session: Session,
    rows: IndexRows,
    schema: SchemaSource,
    store: Store,
    coalescer: Coalescer,
    sink: BackgroundSink,
    gate: Gate,
    counted: Callable[[int], object],
    keys: PrimaryKeyWatch,
) -> TableWatch:
    """Return the watch that updates documents after tables are truncated, dropped or re-created."""
    shown_in = _shown_in(mappings)
    reconcile = make_rebuild(mappings, store)
    declared = {mapping.table: Policy(mapping.on_truncate, mapping.on_drop) for mapping in settings.mappings.values()}
    return TableWatch(
        {table: declared.get(table, _JOINED) for table in shown_in},
        schema=schema,
        records=TruncationRecordReader(session, settings.cassandra.contact_points),
        marks=store.table_states,
        sweep=Sweep(rows, sink, gate, counted=counted),
        flights=coalescer,
        rebuild=reconcile,
        shown_in=shown_in,
        cdc=CdcWatch(SchemaRecordReader(session, settings.cassandra.contact_points), reconcile)
        if settings.tail
        else None,
        is_rekeyed=keys.is_rekeyed,
    )


def make_rebuild(mappings: Mapping[TableName, Iterable[DocumentMapping]], store: Store) -> Rebuild:
    """Return a function that durably requests a comparison of the tables that show a table with their indices."""
    shown_in = _shown_in(mappings)

    async def rebuild(
        table: TableName, reason: ReconcileReason = ReconcileReason.TABLE, since: int | None = None
    ) -> None:
        requests = [
            ReconcileRequest(reason=reason, segment_id=0, since=since, keyspace=shown.keyspace, table=shown.table)
            for shown in shown_in.get(table, ())
        ]
        await asyncio.to_thread(store.reconcile_requests.add, requests)

    return rebuild


def _shown_in(mappings: Mapping[TableName, Iterable[DocumentMapping]]) -> Mapping[TableName, Sequence[TableName]]:
    """Return, by table, the tables with documents that show its rows."""
    shown_in: dict[TableName, list[TableName]] = defaultdict(list)
    for table, several in mappings.items():
        for shown in sorted({table, *(joined for mapping in several for joined in mapping.related.tables)}):
            shown_in[shown].append(table)
    return shown_in


def _key_of_id(settings: Settings, mapping: DocumentMapping) -> KeyOfId:
    identifiers = IdParser(settings.mappings[mapping.name], mapping.table)

    def key_of(identity: str) -> Key | None:
        try:
            key = identifiers.parse_one(identity).key
        except InvalidIdError:
            return None
        return None if key.clustering is None else key

    return key_of
